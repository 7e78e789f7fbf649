internal import Sockets
public import Wire

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

/// What a session tells its owner. Loop thread only.
public protocol SessionDelegate: AnyObject {
    /// The peer's HELLO arrived and its version fits. Ending the session here refuses the peer.
    func session(_ session: Session, greeted hello: Hello)
    /// LISTENER.
    func session(_ session: Session, advertised listener: ListenerMessage)
    /// LISTENER_GONE.
    func session(_ session: Session, withdrew listener: ListenerID)
    /// SYNC.
    func sessionSynced(_ session: Session)
    /// MIRROR.
    func session(_ session: Session, reported mirror: MirrorMessage)
    /// POLICY; only a guest gets it.
    func session(_ session: Session, asked policy: PolicyMessage)
    /// OPEN. The delegate gives the stream a handler, or refuses it, before it returns.
    func session(_ session: Session, opened stream: TunnelStream, _ message: OpenMessage)
    /// There is room for control frames: write one about a listener or mirror. Asked after
    /// ``Session/askForControl()``.
    func session(_ session: Session, writeControl writer: inout ByteWriter) -> ControlTurn
    /// The session is over. Every stream was told before.
    func session(_ session: Session, ended end: SessionEnd)
}

/// What a delegate did when there was room for one control frame.
public enum ControlTurn: Equatable, Sendable {
    /// It wrote one.
    case wrote
    /// It has one, and may not send it yet: ask again at the end of each turn of the loop.
    case later
    /// It has none: do not ask before ``Session/askForControl()``.
    case nothing
}

/// Why a session ended.
public struct SessionEnd: Error, Equatable, Sendable, CustomStringConvertible {
    /// The class of reason.
    public let code: GoAwayCode
    /// In words.
    public let reason: String
    /// Whether the peer said so.
    public let isByPeer: Bool

    /// Describes an end.
    public init(_ code: GoAwayCode, _ reason: String, isByPeer: Bool = false) {
        self.code = code
        self.reason = reason
        self.isByPeer = isByPeer
    }

    /// One line for logs and status.
    public var description: String { isByPeer ? "peer: \(reason)" : reason }
}

/// One conversation over one link. See the theory of operation above. Loop thread only.
public final class Session {
    /// This side's HELLO.
    public let hello: Hello
    /// The peer's HELLO, once it came.
    public private(set) var peer: Hello?
    /// Whether it came. Asked for every frame, which ``peer`` would be copied for.
    private(set) var isGreeted = false
    /// Whether the session is over.
    public private(set) var isEnded = false

    /// Not `weak`: an object that is referred to weakly counts its references in a table beside it, some
    /// hundred instructions for each byte that is echoed. Whoever is let go as a delegate is replaced first.
    private(set) unowned var delegate: (any SessionDelegate)?
    let link: any Link
    let clock: () -> UInt64

    // Receiving.
    let inbox = IOBuffer(capacity: Session.inboxSize)
    var decoder = FrameDecoder()
    var rates: Rates
    var liveness: Liveness

    // Sending.
    let outbox = IOBuffer(capacity: Session.outboxSize)
    var writer = ByteWriter()
    var waiting = Waiting()
    /// Where the frame begins whose flow has its turn right now.
    var turnStart: Int?

    // Streams.
    var opened: StreamTable
    var accepted: StreamTable
    /// Streams without a number whose bytes are still held.
    var draining: [ObjectIdentifier: TunnelStream] = [:]
    /// How many there may be of them.
    var maxDraining = 4_096
    var budget = ReceiveBudget()
    /// The most that ``budget`` held since ``takeHeldPeak()``.
    var heldPeak: UInt64 = 0
    /// How many streams were reset because all together held too much.
    public internal(set) var streamsOverBudget: UInt64 = 0

    static let inboxSize = 512 << 10
    static let outboxSize = 336 << 10

    /// Prepares a session over `link`; nothing is sent before ``start()``.
    ///
    /// - Parameter clock: Monotonic milliseconds.
    public init(
        link: any Link, hello: Hello, delegate: any SessionDelegate, clock: @escaping () -> UInt64
    ) {
        self.link = link
        self.hello = hello
        self.delegate = delegate
        self.clock = clock
        let now = clock()
        rates = Rates(now: now)
        liveness = Liveness(now: now)
        let isGuest = hello.role == .guest
        opened = StreamTable(isGuestOpened: isGuest, isOurs: true, limit: StreamID.maxSlot)
        accepted = StreamTable(
            isGuestOpened: !isGuest, isOurs: false, limit: Int(hello.maxStreams))
    }

    /// Whether our HELLO left, or is about to: from then on the peer may send anything.
    public private(set) var hasGreeted = false

    /// Starts listening to the peer, and greets it.
    ///
    /// - Parameter greeting: False to hold HELLO back until ``sendHello()``; the peer then keeps to its
    ///   own HELLO and waits.
    public func start(greeting: Bool = true) {
        link.attach(self)
        if greeting { sendHello() }
    }

    /// Sends our HELLO, if it was held back.
    public func sendHello() {
        guard !hasGreeted else { return }
        hasGreeted = true
        waiting.urgent.hello = true
        pump()
    }

    /// How many streams are open.
    public var streamCount: Int { opened.count + accepted.count }

    /// How many received bytes wait for applications now.
    public var heldBytes: UInt64 { budget.held }

    /// The most received bytes that waited for applications since the last call.
    public func takeHeldPeak() -> UInt64 {
        defer { heldPeak = budget.held }
        return heldPeak
    }

    /// Hands the session to another delegate: the handshake's owner gives it to its user.
    public func adopt(_ delegate: any SessionDelegate) {
        self.delegate = delegate
        askForControl()
    }

    /// Has the delegate asked for control frames at the end of this turn of the loop, and until it has none.
    public func askForControl() {
        waiting.isDelegateDue = true
    }

    /// Queues "that was my whole set".
    public func sendSync() {
        waiting.urgent.sync = hello.epoch
    }

    /// Queues what the settings ask of the guest.
    public func send(_ policy: PolicyMessage) {
        waiting.urgent.policy = policy
    }

    /// Asks for a sign of life; any byte the peer sends counts.
    public func probe() {
        waiting.urgent.ping = clock()
        pump()
    }

    /// When the peer was last heard, in milliseconds of the session's clock.
    public var lastHeard: UInt64 { liveness.lastHeard }

    /// To be called twice a second: control that was in no hurry leaves, and silence is judged.
    public func tick() {
        guard !isEnded else { return }
        if !waiting.control.isEmpty { waiting.isControlDue = true }
        let isWaiting = !outbox.isEmpty
        switch liveness.tick(now: clock(), isGreeted: isGreeted, isWaitingToWrite: isWaiting) {
        case .nothing: break
        case .ping: probe()
        case .dead(let why): end(SessionEnd(.timeout, why))
        }
    }

    /// Remembers the peer's HELLO, or ends the session if the two cannot talk.
    func greet(_ hello: Hello) throws(SessionEnd) {
        guard !isGreeted else { throw SessionEnd(.protocolError, "a second HELLO") }
        guard self.hello.versions.common(with: hello.versions) != nil else {
            throw SessionEnd(
                .version,
                "we speak protocol version \(self.hello.versions), the peer \(hello.versions): "
                    + "install matching versions of twinport and twinport-agent")
        }
        guard hello.role == self.hello.role.peer else {
            throw SessionEnd(.notAllowed, "both ends of the tunnel are the \(hello.role)")
        }
        guard hello.requiredFeatures == 0 else {
            throw SessionEnd(.version, "the peer requires features this version does not have")
        }
        peer = hello
        isGreeted = true
        delegate?.session(self, greeted: hello)
    }

    /// Ends the session: says why (if it was not the peer), resets every stream, tells the delegate.
    /// Safe to call twice.
    public func end(_ end: SessionEnd) {
        guard !isEnded else { return }
        if !end.isByPeer { sayGoodbye(end) }
        isEnded = true
        link.close()
        waiting = Waiting()
        let streams = opened.all + accepted.all
        // What drains has all of the peer's bytes, and its end: it goes on without us.
        for stream in streams + draining.values { stream.phase = .over }
        draining = [:]
        for stream in streams {
            let handler = stream.handler
            stream.handler = nil
            handler?.streamEnded(.tunnelLost)
        }
        let delegate = self.delegate
        self.delegate = nil
        delegate?.session(self, ended: end)
    }
}
