internal import Sockets
internal import TwinportModel
package import Wire

// # A session
//
// One conversation over one link: a state machine between the link's bytes and the streams' handlers.
// It does no I/O of its own accord and knows no clock but the one it is given, so two sessions joined by
// memory can be tested without a socket and without waiting.
//
// ## Events and what they cause
//
//     link readable   → read → FrameDecoder → validate → handlers, delegate      (Session+Receiving)
//     end of a turn   → pump: control frames, then streams in turn → one write    (Session+Sending)
//     stream calls    → flags on the stream, sent by the next pump                (Session+Streams)
//     tick, twice a second → PING when quiet, end when dead                       (Liveness)
//
// ## Sending is pulled
//
// Nothing is queued as bytes. A flow that has something says so (`markReady`); when the link takes
// bytes, the scheduler gives each ready stream a turn, and only then does the flow read its socket,
// straight behind a header slot in the outbox. So a byte waits in the kernel's socket buffer of its own
// connection until the moment it leaves, where it exerts back-pressure on exactly its own sender.
// Streams take turns of at most 256 KiB; one that was idle goes first once. Control is a
// flag or a number on a stream, a listener or the session, so a peer that does not read cannot make it
// grow.
//
// ## Faults
//
// A fault of one stream (DATA past its credit) resets the stream. Anything that makes the byte stream
// itself doubtful ends the session with GOAWAY. Every frame is validated whole before any state changes.

/// One conversation over one link. See the theory of operation above. Loop thread only.
package final class Session {
    /// This side's HELLO.
    package let hello: Hello
    let link: any Link
    let clock: () -> UInt64
    let inbox = IOBuffer(capacity: Session.inboxSize)
    let outbox = IOBuffer(capacity: Session.outboxSize)
    /// Frames about listeners that overtake the outbox.
    let news = IOBuffer(capacity: Session.newsSize)

    /// The current delegate.
    private(set) var delegates: Delegates
    /// How far the conversation is.
    private(set) var progress = Progress()
    /// What judges the peer's bytes.
    var incoming: Incoming
    /// What waits to be sent, and one frame while it is written. The delegate writes into the latter, and may
    /// schedule meanwhile: they must not be one variable.
    var scheduler = Scheduler()
    var writer = ByteWriter()
    var outgoing = Outgoing()
    var streams: Streams
    var memory = Memory()

    /// Not `weak`: an object that is referred to weakly counts its references in a table beside it, some
    /// hundred instructions for each byte that is echoed. Install the next delegate before releasing this one.
    struct Delegates {
        unowned var handshake: (any HandshakeDelegate)?
        unowned var user: (any SessionDelegate)?
        /// Decides when the outbox may leave; it is the user's.
        unowned var gate: (any SendGate)?
    }

    /// What is on its way out.
    struct Outgoing {
        /// Where the frame begins whose flow has its turn right now.
        var turnStart: Int?
        var pace = DatagramPace()
        var outbox = Departure.unchecked
        /// Whether there are bytes of applications in it, or their ends. Other frames tell of nothing.
        var hasData = false

        /// How far the outbox's leaving is.
        enum Departure {
            /// The gate was not asked, or said no.
            case unchecked
            /// The delegate's frames go first.
            case afterNews
            /// It leaves, or left in part.
            case cleared
        }
    }

    /// How far the conversation is.
    struct Progress {
        fileprivate(set) var peer: Hello?
        /// Whether the peer's HELLO arrived. Asked for every frame, which ``peer`` would be copied for.
        fileprivate(set) var hasReceivedHello = false
        /// Whether our HELLO was sent, or is queued.
        fileprivate(set) var hasSentHello = false
        fileprivate(set) var isEnded = false
    }

    /// What judges the peer's bytes.
    struct Incoming {
        var decoder = FrameDecoder()
        var rates: FrameRates
        var liveness: Liveness
        var news = ListenerNews()
        /// How many datagrams came.
        var datagrams: UInt64 = 0
    }

    /// LISTENER and LISTENER_GONE frames whose mirrors are not settled, while frames behind them wait in the same read.
    struct ListenerNews {
        /// How often one read may be interrupted to settle mirrors: a peer that alternates frames about listeners and
        /// bytes without end is served in order up to here.
        private static let mostInARead = 128
        private var isWaiting = false
        private var left = Self.mostInARead

        /// What an earlier read of the same turn brought may still wait.
        mutating func begin() { left = Self.mostInARead }

        mutating func arrived() { isWaiting = true }

        /// Whether mirrors have to be settled now.
        mutating func takeTurn() -> Bool {
            guard isWaiting, left > 0 else { return false }
            isWaiting = false
            left -= 1
            return true
        }
    }

    /// The streams of both sides.
    struct Streams {
        var opened: StreamTable
        var accepted: StreamTable
        /// Streams without a number whose bytes are still held.
        var draining: [ObjectIdentifier: TunnelStream] = [:]
        /// How many there may be of them.
        var maxDraining = 4_096

        var numbered: [TunnelStream] { opened.all + accepted.all }
        var count: Int { opened.count + accepted.count }
    }

    /// What received bytes take.
    struct Memory {
        var budget = ReceiveBudget()
        /// The most that ``budget`` held since ``Session/takeHeldPeak()``.
        var heldPeak: UInt64 = 0
        /// How many streams were reset because all together held too much.
        var streamsOverBudget: UInt64 = 0
    }

    static let inboxSize = 512 << 10
    static let outboxSize = 336 << 10
    static let newsSize = 64 << 10

    /// Prepares a session; nothing is read or sent before ``start(greeting:)``.
    ///
    /// - Parameter clock: Monotonic milliseconds.
    package init(
        link: any Link, hello: Hello, handshake: (any HandshakeDelegate)?,
        clock: @escaping () -> UInt64
    ) {
        self.link = link
        self.hello = hello
        delegates = Delegates(handshake: handshake)
        self.clock = clock
        let now = clock()
        incoming = Incoming(rates: FrameRates(now: now), liveness: Liveness(now: now))
        let isGuest = hello.role == .guest
        streams = Streams(
            opened: StreamTable(isGuestOpened: isGuest, isOurs: true, limit: StreamID.maxSlot),
            accepted: StreamTable(
                isGuestOpened: !isGuest, isOurs: false, limit: Int(hello.maxStreams)))
    }

    /// The peer's HELLO, once it came.
    package var peer: Hello? { progress.peer }
    /// Whether the peer's HELLO arrived.
    var hasReceivedHello: Bool { progress.hasReceivedHello }
    /// Whether our HELLO was sent, or is queued: from then on the peer may send anything.
    package var hasSentHello: Bool { progress.hasSentHello }
    /// Whether the session is over.
    package var isEnded: Bool { progress.isEnded }
    /// How many streams were reset because all together held too much.
    package var streamsOverBudget: UInt64 { memory.streamsOverBudget }

    /// Sets the handshake delegate after `init`.
    func setHandshakeDelegate(_ handshake: any HandshakeDelegate) {
        var delegates = self.delegates
        delegates.handshake = handshake
        replaceDelegates(delegates)
    }

    /// Starts listening to the peer, and greets it.
    ///
    /// - Parameter greeting: False to hold HELLO back until ``sendHello()``; the peer then keeps to its
    ///   own HELLO and waits.
    package func start(greeting: Bool = true) {
        link.attach(self)
        if greeting { sendHello() }
    }

    /// Sends our HELLO, if it was held back.
    package func sendHello() {
        guard !hasSentHello else { return }
        progress.hasSentHello = true
        scheduler.urgent.hello = true
        pump()
    }

    /// How many streams are open.
    package var streamCount: Int { streams.count }

    /// How many received bytes wait for applications now.
    package var heldBytes: UInt64 { memory.budget.held }

    /// The most received bytes that waited for applications since the last call.
    package func takeHeldPeak() -> UInt64 {
        defer { memory.heldPeak = memory.budget.held }
        return memory.heldPeak
    }

    /// Hands the session from its handshake to its user, who is told of everything from now on.
    ///
    /// - Parameter gate: Asked before bytes of applications leave. Must live as long as `user`.
    package func adopt(_ user: any SessionDelegate, gate: (any SendGate)? = nil) {
        replaceDelegates(Delegates(user: user, gate: gate))
        askForControl()
    }

    /// By swapping: what the old ones' release may run is none of the access's business.
    @discardableResult
    private func replaceDelegates(_ new: Delegates) -> Delegates {
        var delegates = new
        swap(&self.delegates, &delegates)
        return delegates
    }

    /// Has the delegate asked for control frames at the end of this turn of the loop, and until it has none.
    package func askForControl() {
        scheduler.asksDelegate = true
    }

    /// Queues "that was my whole set".
    package func sendSync() {
        scheduler.urgent.sync = hello.epoch
    }

    /// Queues what the settings ask of the guest.
    package func send(_ policy: PolicyMessage) {
        scheduler.urgent.policy = policy
    }

    /// Asks for a sign of life; any byte the peer sends counts.
    package func probe() {
        scheduler.urgent.ping = clock()
        pump()
    }

    /// When the peer was last heard, in milliseconds of the session's clock.
    package var lastHeard: UInt64 { incoming.liveness.lastHeard }

    /// To be called twice a second: control that was in no hurry leaves, and silence is judged.
    package func tick() {
        guard !isEnded else { return }
        scheduler.hurryControl()
        let isWaiting = !outbox.isEmpty
        let verdict = incoming.liveness.tick(
            now: clock(), hasReceivedHello: hasReceivedHello, isWaitingToWrite: isWaiting)
        switch verdict {
        case .nothing: break
        case .ping: probe()
        case .dead(let why): end(SessionEnd(.timeout, why))
        }
    }

    /// Remembers the peer's HELLO, or ends the session if the two cannot talk.
    func receiveHello(_ hello: Hello) throws(SessionEnd) {
        guard !hasReceivedHello else { throw SessionEnd(.protocolError, "a second HELLO") }
        guard self.hello.versions.common(with: hello.versions) != nil else {
            throw SessionEnd(
                .version,
                "we speak protocol version \(self.hello.versions), the peer \(hello.versions): "
                    + SessionEnd.sameVersion)
        }
        guard hello.role == self.hello.role.peer else {
            throw SessionEnd(
                .notAllowed,
                "both ends of the tunnel are the \(hello.role); run twinport on the host and twinport-agent in the guest"
            )
        }
        guard hello.requiredFeatures == 0 else {
            throw SessionEnd(
                .version,
                "the other end requires features that this version does not have: \(SessionEnd.sameVersion)"
            )
        }
        progress.peer = hello
        progress.hasReceivedHello = true
        link.agreed(on: self.hello.features.agreed(with: hello.features))
        outgoing.pace.isOn = hello.features.contains(.taken)
        delegates.handshake?.greeted(hello)
    }

    /// Ends the session: says why (if it was not the peer), resets every stream, tells the delegate.
    /// Safe to call twice.
    package func end(_ end: SessionEnd) {
        guard !isEnded else { return }
        if !end.isByPeer { sayGoodbye(end) }
        progress.isEnded = true
        link.close()
        scheduler = Scheduler()
        let numbered = streams.numbered
        // What drains has all of the peer's bytes, and its end: it goes on without us.
        for stream in numbered + streams.draining.values { stream.state.forget() }
        streams.draining = [:]
        for stream in numbered {
            let handler = stream.handler
            stream.handler = nil
            handler?.streamEnded(.tunnelLost)
        }
        let delegates = replaceDelegates(Delegates())
        delegates.handshake?.handshakeEnded(end)
        delegates.user?.sessionEnded(end)
    }
}
