public import Addresses
public import Sockets
public import Wire

/// What a stream asks of the flow behind it, and tells it. All calls on the loop's thread.
public protocol StreamHandler: AnyObject {
    /// The scheduler gives this stream its turn: move up to `limit` bytes (or one datagram) into `buffer`.
    func fill(_ buffer: IOBuffer, limit: Int) -> Fill
    /// The far side's target answered (OPENED). Only for streams that we opened.
    func streamOpened()
    /// Bytes or, for UDP, one datagram arrived. The bytes are gone when this returns.
    func received(_ bytes: Span<UInt8>)
    /// The far side will send no more (FIN).
    func receivedEnd()
    /// The stream is over, at once and both ways. Nothing more is called after this.
    func streamEnded(_ code: ResetCode)
}

/// What a flow did with its turn.
public enum Fill: Equatable, Sendable {
    /// It added so many bytes. For TCP never 0; `more` means: call again without waiting for readiness.
    case bytes(Int, more: Bool)
    /// There was nothing.
    case nothing
    /// The next datagram does not fit into the limit.
    case noRoom
    /// The application ended its direction: send FIN.
    case end
    /// The application's connection is dead: send RESET.
    case failed(ResetCode)
}

/// One numbered channel of a session. Owned by the session's tables until both terminals were seen.
///
/// A *terminal* is FIN, REFUSED or RESET. Loop thread only.
public final class TunnelStream {
    /// The stream's number.
    public let id: StreamID
    /// What it carries.
    public let transport: TransportProtocol
    /// The flow behind it. Strong, and dropped when the stream ends: session → stream → flow is the
    /// chain that keeps a flow alive.
    public var handler: (any StreamHandler)?

    /// There as long as ``phase`` is not `over`.
    unowned let session: Session
    /// What the session still has to do with it.
    var phase = Phase.numbered

    enum Phase {
        /// It is in the session's tables.
        case numbered
        /// Both terminals were seen and its number is free, but the application has not taken all that came: the
        /// session counts it.
        case draining
        /// The session does not know it any more, and may be gone while the flow still serves its application.
        case over
    }

    /// What OPEN said, or will say.
    let open: OpenMessage
    /// Whether this side opened it.
    let isLocal: Bool

    /// Bytes framed so far, and up to where the peer lets us.
    var sent: UInt64 = 0
    var sendLimit: UInt64
    var window: ReceiveWindow

    var sentTerminal = false
    var sentReset = false
    var receivedTerminal = false
    /// The peer's terminal was RESET or REFUSED: nothing may follow it.
    var receivedReset = false
    /// OPENED came, which comes once.
    var receivedOpened = false

    /// Control frames that wait for the next turn; at most one of each kind.
    var pending: PendingControl = []
    var pendingCode: ResetCode = .other
    var pendingWindow: UInt64 = 0
    var isControlQueued = false

    /// Whether the scheduler has it in a queue.
    var isReady = false
    /// Whether it left the queue for lack of credit.
    var isBlocked = false

    struct PendingControl: OptionSet {
        let rawValue: UInt8
        static let open = PendingControl(rawValue: 1)
        static let opened = PendingControl(rawValue: 2)
        static let refused = PendingControl(rawValue: 4)
        static let window = PendingControl(rawValue: 8)
        static let reset = PendingControl(rawValue: 16)
    }

    init(
        id: StreamID, session: Session, isLocal: Bool, open: OpenMessage, sendLimit: UInt64,
        window: ReceiveWindow
    ) {
        self.id = id
        self.session = session
        self.isLocal = isLocal
        self.open = open
        transport = open.transport
        self.sendLimit = sendLimit
        self.window = window
    }

    /// How the scheduler took a stream that has something to send.
    public enum Readiness: Sendable {
        /// It gets its turn at the end of this loop turn.
        case queued
        /// It waits already (for its turn or for credit): stop watching until ``StreamHandler/fill(_:limit:)``.
        case waiting
        /// It is over.
        case closed
    }

    /// Whether the peer has to grant more before the stream gets another turn.
    public var awaitsCredit: Bool { isBlocked }

    /// The session, as long as it knows this stream.
    private var owner: Session? { phase == .over ? nil : session }

    /// Tells the scheduler that the flow has something to send.
    public func markReady() -> Readiness {
        phase == .numbered ? session.markReady(self) : .closed
    }

    /// Tells the peer that its target answered. With OPEN it had credit and may send already, so this can wait
    /// for the answer itself.
    public func acceptOpen() {
        guard phase == .numbered else { return }
        session.queue(.opened, on: self, isHurried: false)
    }

    /// Tells the peer that its target did not answer. Ends the stream.
    public func refuse(_ code: ResetCode) {
        owner?.end(self, with: .refused, code)
    }

    /// Ends the stream at once and both ways.
    public func reset(_ code: ResetCode) {
        owner?.end(self, with: .reset, code)
    }

    /// Returns credit for bytes that the kernel accepted.
    public func consumed(_ count: Int) {
        owner?.returnCredit(self, count)
    }
}
