package import EventLoop
package import Noise
internal import Posix
package import Sockets
package import TwinportModel
package import Wire

// # One end of the tunnel
//
// Gets connections, greets whatever is at their other end, and keeps exactly one session: the *live* one.
//
//     listen:  accept → admission (uid, CID) → [lobby] → one of 8 slots → [key] → HELLO within 5 s → newcomer
//     dial:    trust (uid) → connect → [key] → HELLO within 5 s → newcomer; after a failure again, 50 ms … 1 s later
//     adopt:   a connection that the embedder holds → HELLO within 5 s → newcomer
//
// With a key a link asks the other end for it: over `tcp://` ``NoiseLink``, a cipher, elsewhere ``ProofLink``. In
// the ``Lobby`` connections wait until their first message shows that they have it. Which newcomer becomes live is
// decided in ``Election``.

/// What an endpoint tells its owner. Loop thread only.
package protocol TunnelEndpointDelegate: AnyObject {
    /// The HELLO for the next session.
    func makeHello() -> Hello
    /// Whether a peer may become live; a reason if not. Called with its HELLO.
    func refusal(of hello: Hello) -> String?
    /// A session went live; the delegate adopts it before it returns.
    func tunnelUp(_ session: Session, _ hello: Hello, of owner: SessionOwner)
    /// The tunnel's own listening socket is about to be in the kernel's tables, or is gone from them: it is
    /// no listener to be mirrored. Only `tcp://` has one there.
    func tunnelSocket(_ inode: UInt64, isOpen: Bool)
    /// An attempt failed, or a peer was turned away: for logs and status.
    func tunnelTrouble(_ what: String)
}

/// One end of the tunnel. Loop thread only.
package final class TunnelEndpoint {
    private static let handshakeSlots = 8
    private static let livedLong: UInt64 = 2_000
    private static let tickEvery: UInt64 = 500

    private let loop: Loop
    private let mode: TunnelMode?
    private let admission: Admission
    private let key: TunnelKey?
    private unowned let delegate: any TunnelEndpointDelegate
    private var acceptor: Acceptor?
    private var ownInode: UInt64?
    private var dialler: Dialler?
    private var lobby: Lobby?
    private var ticker: Timer?
    private var handshakes: [Handshake] = []
    private var election = Election()
    private var isClosed = false

    /// Prepares an endpoint; nothing happens before ``start()``.
    ///
    /// - Parameters:
    ///   - mode: Where to get connections; nil: only from ``adopt(_:)``.
    ///   - key: What both ends hold. `tcp://` tunnels need one; others do without, or ask for it.
    package init(
        loop: Loop, mode: TunnelMode?, key: TunnelKey?, admission: Admission,
        delegate: any TunnelEndpointDelegate
    ) {
        self.loop = loop
        self.mode = mode
        self.key = key
        self.admission = admission
        self.delegate = delegate
    }

    /// Starts listening or dialling.
    package func start() throws(TunnelError) {
        if case .tcp = mode?.uri, key == nil { throw .keyMissing }
        do {
            try startTimers()
        } catch {
            throw .system(error)
        }
        switch mode {
        case .listen(let uri):
            lobby = makeLobby(uri)
            acceptor = try listen(at: uri)
        case .connect: dialler?.dial()
        case nil: break
        }
    }

    private func startTimers() throws(SystemError) {
        ticker = try Timer(loop: loop) { [unowned self] in tick() }
        ticker?.start(after: Self.tickEvery, every: Self.tickEvery)
        guard case .connect(let uri) = mode else { return }
        dialler = try Dialler(
            loop: loop, uri: uri, admission: admission, due: { [unowned self] in dial() },
            connected: { [unowned self] socket in begin(socket, .initiator) },
            failed: { [unowned self] why in delegate.tunnelTrouble(why) })
    }

    private func listen(at uri: TunnelURI) throws(TunnelError) -> Acceptor {
        try Acceptor(
            loop: loop, uri: uri,
            claim: { [unowned self] inode in
                ownInode = inode
                delegate.tunnelSocket(inode, isOpen: true)
            },
            accepted: { [unowned self] socket in accepted(socket) })
    }

    private func makeLobby(_ uri: TunnelURI) -> Lobby? {
        guard let key else { return nil }
        return Lobby(
            loop: loop, key: key, isEncrypted: uri.isEncrypted,
            admitted: { [unowned self] socket, message in
                makeRoom()
                begin(socket, .responder, early: message)
            },
            refused: { [unowned self] end in
                delegate.tunnelTrouble("no session with the other end: \(end.attributed)")
            })
    }

    /// Ends everything; the live session says goodbye.
    package func close(_ end: SessionEnd = SessionEnd(.shutdown, "the program is shutting down")) {
        guard !isClosed else { return }
        isClosed = true
        ticker?.close()
        dialler?.close()
        acceptor?.close()
        lobby?.close()
        if let ownInode { delegate.tunnelSocket(ownInode, isOpen: false) }
        for handshake in handshakes { handshake.session.end(end) }
        election.live?.end(end)
    }

    /// To be called by the live session's owner when it has ended.
    package func sessionEnded(_ session: Session) {
        guard session === election.live else { return }
        // A peer that greets and leaves at once is not to be redialled twenty times a second.
        if election.vacate(now: loop.now) >= Self.livedLong { dialler?.succeeded() }
        promoteCandidate()
        if election.live == nil { scheduleDial() }
    }

    // MARK: Getting connections

    /// Takes over a connected stream socket that the embedder holds. The path is taken for private: no
    /// cipher, no check of the peer.
    package func adopt(_ socket: consuming Socket) {
        makeRoom()
        begin(socket, nil)
    }

    private func accepted(_ socket: consuming Socket) {
        guard let uri = mode?.uri else { return }
        if let why = admission.refusal(socket, at: uri) {
            return delegate.tunnelTrouble("a connection was refused: \(why)")
        }
        if let lobby { return lobby.enter(socket) }
        makeRoom()
        begin(socket, .responder)
    }

    /// The one that waits longest gives way: a peer that means it greets within a round trip, so silent ones
    /// cannot keep it out.
    private func makeRoom() {
        let waiting = election.candidate?.handshake
        guard handshakes.count >= Self.handshakeSlots,
            let oldest = handshakes.first(where: { $0 !== waiting })
        else { return }
        oldest.session.end(.tooManyHandshakes(Self.handshakeSlots))
    }

    private func dial() {
        guard !isClosed, election.live == nil, handshakes.isEmpty else { return }
        dialler?.dial()
    }

    private func scheduleDial() {
        if !isClosed { dialler?.scheduleNext() }
    }

    // MARK: Greeting

    /// - Parameters:
    ///   - part: This side's part in the key's handshake; nil: none is asked for.
    ///   - early: What was read of the other end's bytes already.
    private func begin(
        _ socket: consuming Socket, _ part: NoiseLink.Part?, early: [UInt8] = []
    ) {
        let loop = self.loop
        let origin = origin(of: socket, part)
        var link: any Link = SocketLink(loop: loop, socket: socket)
        let key = part == nil ? nil : self.key
        if let key, let part {
            link =
                mode?.uri.isEncrypted == true
                ? NoiseLink(link, key: key, part: part, early: early)
                : ProofLink(link, key: key, part: part, early: early)
        }
        let handshake = Handshake(
            link: link, key: key, origin: origin, hello: makeHello(),
            clock: { loop.now },
            greeted: { [unowned self] in greeted($0, $1) },
            ended: { [unowned self] in failed($0, $1) })
        handshakes.append(handshake)
        // With a live session, the newcomer's place is decided first.
        handshake.session.start(greeting: election.live == nil)
    }

    private func makeHello() -> Hello {
        var hello = delegate.makeHello()
        if mode?.uri.isEncrypted == true, Cipher.quicker == .chaChaPoly {
            hello.optionalFeatures |= Features.wantsOtherCipher.rawValue
        }
        return hello
    }

    private func origin(
        of socket: borrowing Socket, _ part: NoiseLink.Part?
    ) -> SessionOwner.Origin? {
        guard part != nil, let uri = mode?.uri else { return .embedder }
        return admission.origin(of: socket, at: uri)
    }

    private func greeted(_ handshake: Handshake, _ hello: Hello) {
        let session = handshake.session
        if let why = delegate.refusal(of: hello) {
            delegate.tunnelTrouble("a connection was refused: \(why)")
            return session.end(SessionEnd(.notAllowed, why))
        }
        guard let live = election.live else { return goLive(handshake, hello) }
        guard election.mayWait(handshake.owner(hello)) else {
            return session.end(.alreadyConnected(session.hello.role))
        }
        guard election.candidate == nil, !session.hasSentHello else {
            return session.end(.anotherIsGreeted)
        }
        // Nominated first: asking may find the live session dead, and the candidate then takes its place.
        let newcomer = Election.Candidate(handshake: handshake, hello: hello)
        if election.nominate(newcomer, now: loop.now) { live.probe() }
    }

    private func failed(_ handshake: Handshake, _ end: SessionEnd) {
        handshakes.removeAll { $0 === handshake }
        guard !isClosed else { return }
        election.forget(handshake)
        delegate.tunnelTrouble("no session with the other end: \(end.attributed)")
        scheduleDial()
    }

    private func goLive(_ handshake: Handshake, _ hello: Hello) {
        let session = handshake.session
        // Greeting may fail: the peer can be gone already. The handshake must still be there to be
        // told, and a dead session must not take the live one's place.
        session.sendHello()
        guard !session.isEnded else { return }
        handshakes.removeAll { $0 === handshake }
        let owner = handshake.owner(hello)
        election.elect(session, of: owner, now: loop.now)
        // The session does not own its delegate: the handshake lives until the next one is installed.
        withExtendedLifetime(handshake) { delegate.tunnelUp(session, hello, of: owner) }
    }

    // MARK: Time

    private func tick() {
        for handshake in handshakes { handshake.session.tick() }
        election.live?.tick()
        judgeCandidate()
        lobby?.tick()
        do {
            try acceptor?.resume()
        } catch {
            delegate.tunnelTrouble("\(error)")
        }
        dialler?.tick()
    }

    private func judgeCandidate() {
        switch election.verdict(now: loop.now) {
        case .undecided: break
        case .keep:
            let newcomer = election.candidate?.handshake.session
            newcomer?.end(.alreadyConnected(newcomer?.hello.role ?? .host))
        case .replace:
            election.live?.end(
                SessionEnd(
                    .timeout, "the other end did not answer, and another connection takes its place"
                ))
        }
    }

    private func promoteCandidate() {
        guard !isClosed, let candidate = election.takeCandidate() else { return }
        if !candidate.handshake.session.isEnded { goLive(candidate.handshake, candidate.hello) }
    }
}
