public import Addresses
public import EventLoop
public import Noise
internal import Posix
internal import Sockets
public import Wire

// # One end of the tunnel
//
// Listens or dials, greets whoever is there, and keeps exactly one session: the *live* one.
//
//     listen:  accept → admission (uid, CID) → one of 8 slots → [cipher] → HELLO within 5 s → candidate
//     dial:    connect → [cipher] → HELLO within 5 s → candidate; after a failure again, 50 ms … 1 s later
//
// A candidate becomes live when there is no live session. If there is one, it is asked for a sign of life
// first: when it answers within a second the candidate is turned away (GOAWAY busy), otherwise it is
// dead and the candidate takes its place. Until that is decided our HELLO is held back, so the newcomer
// sends nothing yet that could be lost. So a newcomer can never displace a working session, and a
// guest that rebooted without closing its connection is back within a second. It is asked once a second at
// most, however many newcomers there are: more, and the peer would have to end the session for our PINGs.

/// What an endpoint tells its owner. Loop thread only.
public protocol TunnelEndpointDelegate: AnyObject {
    /// The HELLO for the next session.
    func makeHello() -> Hello
    /// Whether a peer may become live; a reason if not. Called with its HELLO.
    func refusal(of hello: Hello) -> String?
    /// A session went live; the delegate adopts it before it returns.
    func tunnelUp(_ session: Session, _ hello: Hello)
    /// The tunnel's own listening socket is about to be in the kernel's tables, or is gone from them: it is
    /// no listener to be mirrored. Only `tcp://` has one there.
    func tunnelSocket(_ inode: UInt64, isOpen: Bool)
    /// An attempt failed, or a peer was turned away: for logs and status.
    func tunnelTrouble(_ what: String)
}

/// One end of the tunnel. Loop thread only.
public final class TunnelEndpoint {
    /// Whether to wait for the other end or to call it.
    public enum Mode: Hashable, Sendable {
        /// Listen at the URI.
        case listen(TunnelURI)
        /// Dial the URI, again and again.
        case connect(TunnelURI)

        /// Whether the two cannot be at the same time, because both listen for the same.
        public func excludes(_ other: Mode) -> Bool {
            guard case .listen(let one) = self, case .listen(let two) = other else { return false }
            return one.collides(with: two)
        }

        /// The URI.
        public var uri: TunnelURI {
            switch self {
            case .listen(let uri), .connect(let uri): uri
            }
        }
    }

    private static let handshakeSlots = 8
    private static let probeWithin: UInt64 = 1_000
    private static let livedLong: UInt64 = 2_000
    private static let dialWithin: UInt64 = 10_000
    private static let tickEvery: UInt64 = 500

    private let loop: Loop
    private let mode: Mode
    private let admission: Admission
    private let key: TunnelKey?
    private unowned let delegate: any TunnelEndpointDelegate
    private var listener: Listening?
    private var ownInode: UInt64?
    private var dialling: Dialling?
    private var dialledAt: UInt64 = 0
    private var retryTimer: Timer?
    private var ticker: Timer?
    private var backoff = Backoff()
    private var handshakes: [Greeting] = []
    private var candidate: Candidate?
    private var live: Session?
    private var liveSince: UInt64 = 0
    /// When the live session was last asked for a sign of life: it is alive when it has been heard since.
    private var probedAt: UInt64?
    private var isClosed = false

    /// A `tcp://` tunnel was asked for without a key.
    public struct KeyMissing: Error, CustomStringConvertible {
        /// In one line, with what to do.
        public let description =
            "a tcp:// tunnel needs a key: \"twinport key new PATH\", and PATH on both ends"
    }

    /// The tunnel's address cannot be listened on.
    public struct CannotListen: Error, CustomStringConvertible {
        /// In one line, with what is in the way.
        public let description: String

        init(uri: TunnelURI, cause: any Error) {
            let error = cause as? SystemError
            let hint =
                error?.isAddressInUse == true
                ? " (another one listens there)"
                : error?.isOccupied == true ? " (and it is no socket of ours)" : ""
            description =
                "cannot listen at \(uri): \(error.map { SystemError.text(of: $0.code) } ?? "\(cause)")\(hint)"
        }
    }

    /// A session whose HELLO came while another one was live.
    private struct Candidate {
        let session: Session
        let hello: Hello
    }

    /// Prepares an endpoint; nothing happens before ``start()``.
    ///
    /// - Parameter key: What both ends of a `tcp://` tunnel hold; others do without.
    public init(
        loop: Loop, mode: Mode, key: TunnelKey?, admission: Admission,
        delegate: any TunnelEndpointDelegate
    ) {
        self.loop = loop
        self.mode = mode
        self.key = key
        self.admission = admission
        self.delegate = delegate
    }

    /// Starts listening or dialling.
    ///
    /// - Throws: ``CannotListen``, ``LoopError``, ``KeyMissing``.
    public func start() throws {
        if case .tcp = mode.uri, key == nil { throw KeyMissing() }
        ticker = try Timer(loop: loop) { [unowned self] in tick() }
        ticker?.start(after: Self.tickEvery, every: Self.tickEvery)
        switch mode {
        case .listen(let uri):
            listener = try Listening(
                loop: loop, uri: uri,
                claim: { [unowned self] inode in
                    ownInode = inode
                    delegate.tunnelSocket(inode, isOpen: true)
                },
                accepted: { [unowned self] socket in accepted(socket) })
        case .connect:
            retryTimer = try Timer(loop: loop) { [unowned self] in dial() }
            dial()
        }
    }

    /// Ends everything; the live session says goodbye.
    public func close(_ end: SessionEnd = SessionEnd(.shutdown, "the program is shutting down")) {
        guard !isClosed else { return }
        isClosed = true
        ticker?.close()
        retryTimer?.close()
        dialling?.close()
        // The file before the listener: who finds nobody listening removes the file and puts its own there.
        removeSocketFile()
        listener?.close()
        if let ownInode { delegate.tunnelSocket(ownInode, isOpen: false) }
        for handshake in handshakes { handshake.session.end(end) }
        live?.end(end)
    }

    /// To be called by the live session's owner when it has ended.
    public func sessionEnded(_ session: Session) {
        guard session === live else { return }
        live = nil
        // A peer that greets and leaves at once is not to be redialled twenty times a second.
        if loop.now >= liveSince + Self.livedLong { backoff.reset() }
        promoteCandidate()
        if live == nil { scheduleDial() }
    }

    private func removeSocketFile() {
        guard case .listen(let uri) = mode, let path = uri.socketPath, listener != nil else {
            return
        }
        Socket.removeUnix(path)
    }

    // MARK: Getting connections

    private func accepted(_ socket: consuming Socket) {
        if let why = admission.refusal(socket, at: mode.uri) {
            return delegate.tunnelTrouble("a peer was refused: \(why)")
        }
        makeRoom()
        begin(socket, .responder)
    }

    /// The one that waits longest gives way: a peer that means it greets within a round trip, so silent ones
    /// cannot keep it out.
    private func makeRoom() {
        guard handshakes.count >= Self.handshakeSlots,
            let oldest = handshakes.first(where: { $0.session !== candidate?.session })
        else { return }
        oldest.session.end(
            SessionEnd(.busy, "\(Self.handshakeSlots) others are waiting to be greeted"))
    }

    private func dial() {
        guard !isClosed, live == nil, handshakes.isEmpty, dialling == nil else { return }
        dialledAt = loop.now
        do {
            dialling = try Dialling(loop: loop, uri: mode.uri) { [unowned self] outcome in
                dialled(outcome)
            }
            dialling?.start()
        } catch {
            dialFailed("\(error)")
        }
    }

    private func dialled(_ outcome: Dialling.Outcome) {
        dialling?.close()
        guard let connected = dialling?.takeSocket(), case .connected = outcome else {
            dialling = nil
            if case .failed(let error) = outcome { dialFailed(error.description) }
            return
        }
        dialling = nil
        begin(connected, .initiator)
    }

    private func dialFailed(_ why: String) {
        dialling = nil
        delegate.tunnelTrouble("cannot reach \(mode.uri): \(why)")
        scheduleDial()
    }

    private func scheduleDial() {
        guard case .connect = mode, !isClosed else { return }
        retryTimer?.start(after: backoff.next())
    }

    // MARK: Greeting

    private func begin(_ socket: consuming Socket, _ part: NoiseLink.Part) {
        let handshake = Greeting(owner: self)
        let loop = self.loop
        var link: any Link = SocketLink(loop: loop, socket: socket)
        if case .tcp = mode.uri, let key { link = NoiseLink(link, key: key, part: part) }
        let session = Session(
            link: link, hello: delegate.makeHello(), delegate: handshake, clock: { loop.now })
        handshake.session = session
        handshakes.append(handshake)
        // With a live session, the newcomer's place is decided first.
        session.start(greeting: live == nil)
    }

    fileprivate func greeted(_ session: Session, _ hello: Hello) {
        if let why = delegate.refusal(of: hello) {
            delegate.tunnelTrouble("a peer was refused: \(why)")
            return session.end(SessionEnd(.notAllowed, why))
        }
        guard let live else { return goLive(session, hello) }
        guard candidate == nil, !session.hasGreeted else {
            return session.end(SessionEnd(.busy, "another guest is connecting"))
        }
        // First: asking may find the live session dead, and the candidate then takes its place.
        candidate = Candidate(session: session, hello: hello)
        probe(live)
    }

    /// Asks the live session for a sign of life, unless that was done within the last second.
    private func probe(_ live: Session) {
        if let probedAt, loop.now < probedAt + Self.probeWithin { return }
        probedAt = loop.now
        live.probe()
    }

    fileprivate func failed(_ session: Session, _ end: SessionEnd) {
        handshakes.removeAll { $0.session === session }
        guard !isClosed else { return }
        if candidate?.session === session { candidate = nil }
        delegate.tunnelTrouble("no session with the peer: \(end)")
        scheduleDial()
    }

    private func goLive(_ session: Session, _ hello: Hello) {
        // Greeting may fail: the peer can be gone already. Its handshake's owner must still be there to be
        // told, and a dead session must not take the live one's place.
        session.sendHello()
        guard !session.isEnded else { return }
        let place = handshakes.firstIndex { $0.session === session }
        let greeting = place.map { handshakes.remove(at: $0) }
        live = session
        liveSince = loop.now
        probedAt = nil
        // The session does not own its delegate: this one stays until it has the next.
        withExtendedLifetime(greeting) { delegate.tunnelUp(session, hello) }
    }

    // MARK: Time

    private func tick() {
        for handshake in handshakes { handshake.session.tick() }
        live?.tick()
        judgeCandidate()
        listener?.resume()
        if dialling != nil, loop.now >= dialledAt + Self.dialWithin {
            dialling?.close()
            dialFailed("no answer within 10 s")
        }
    }

    /// Decides between the live session and a newcomer, once the live one had its second to answer.
    private func judgeCandidate() {
        guard let candidate, let live, let probedAt else { return }
        if live.lastHeard >= probedAt {
            candidate.session.end(SessionEnd(.busy, "another guest is connected and alive"))
        } else if loop.now >= probedAt + Self.probeWithin {
            live.end(SessionEnd(.timeout, "it did not answer while a newcomer was waiting"))
        }
    }

    private func promoteCandidate() {
        guard let candidate, !isClosed else { return }
        self.candidate = nil
        if !candidate.session.isEnded { goLive(candidate.session, candidate.hello) }
    }
}

/// The delegate of a session that only greets so far.
private final class Greeting: SessionDelegate {
    private unowned let owner: TunnelEndpoint
    /// Set right after creation; the session does not own its delegate.
    var session: Session!

    init(owner: TunnelEndpoint) {
        self.owner = owner
    }

    func session(_ session: Session, greeted hello: Hello) { owner.greeted(session, hello) }
    func session(_ session: Session, ended end: SessionEnd) { owner.failed(session, end) }
    func session(_ session: Session, advertised listener: ListenerMessage) {}
    func session(_ session: Session, withdrew listener: ListenerID) {}
    func sessionSynced(_ session: Session) {}
    func session(_ session: Session, reported mirror: MirrorMessage) {}
    func session(_ session: Session, asked policy: PolicyMessage) {}
    func session(_ session: Session, opened stream: TunnelStream, _ message: OpenMessage) {
        stream.refuse(.disabled)
    }
    func session(_ session: Session, writeControl writer: inout ByteWriter) -> ControlTurn {
        .nothing
    }
}
