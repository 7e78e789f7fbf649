internal import Tunnel
internal import TwinportModel
internal import Wire

/// Traffic of one listener, over all its flows. `in` is towards the listener, `out` is from it.
final class Traffic {
    var flows = 0
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// How many flows in a row the listener did not answer, up to now.
    var failures = 0
}

/// What every flow knows of itself, for reports and limits. Times are milliseconds of the loop's clock.
final class FlowInfo {
    let id: UInt64
    let transport: TransportProtocol
    let direction: Direction
    let listener: Endpoint
    let mirror: Endpoint
    let client: Endpoint
    let started: UInt64
    let traffic: Traffic
    /// Of a forward: what reports have in place of addresses.
    var places: FlowPlaces?
    /// When bytes last moved either way.
    private(set) var lastActive: UInt64
    private(set) var bytesIn: UInt64 = 0
    private(set) var bytesOut: UInt64 = 0
    /// Whether the flow has ended.
    var isOver = false
    /// Whether it was counted among those that the listener answered, or did not.
    private var isCounted = false

    init(
        id: UInt64, transport: TransportProtocol, direction: Direction, listener: Endpoint,
        mirror: Endpoint, client: Endpoint, now: UInt64, traffic: Traffic
    ) {
        self.id = id
        self.transport = transport
        self.direction = direction
        self.listener = listener
        self.mirror = mirror
        self.client = client
        self.traffic = traffic
        started = now
        lastActive = now
    }

    /// How long the far side may take to answer OPEN, in milliseconds: longer than its dial may take, because it should
    /// be the one to say why that failed.
    static let answerTimeout: UInt64 = 10_000

    /// Whether the far side should have answered OPEN by now, and has not.
    ///
    /// - Parameter asked: When OPEN was given to the session.
    func isUnanswered(_ stream: TunnelStream?, since asked: UInt64, now: UInt64) -> Bool {
        guard let stream, !stream.isAnswered else { return false }
        return now >= asked + Self.answerTimeout
    }

    /// Counts, once, whether the listener answered.
    func listenerAnswered() {
        if !isCounted { traffic.failures = 0 }
        isCounted = true
    }

    /// The same, if the code of a flow's end says that it did not. Limits and settings say nothing of it.
    func listenerFailed(_ code: ResetCode) {
        guard !isCounted, [.refused, .timedOut, .other].contains(code) else { return }
        isCounted = true
        traffic.failures = min(traffic.failures + 1, 1_000_000)
    }

    /// Counts bytes that moved.
    func count(_ bytes: Int, towardsListener: Bool, now: UInt64) {
        lastActive = now
        if towardsListener {
            bytesIn += UInt64(bytes)
            traffic.bytesIn += UInt64(bytes)
        } else {
            bytesOut += UInt64(bytes)
            traffic.bytesOut += UInt64(bytes)
            if transport == .udp { listenerAnswered() }
        }
    }
}

/// One half of a forwarded connection or datagram exchange: the half on this machine. Ends through one
/// callback, which it is made with.
protocol Flow: StreamHandler {
    var info: FlowInfo { get }
    /// For reports.
    var state: FlowState { get }
    /// Ends the flow from our side: the application sees a reset, the peer the code.
    func abort(_ code: ResetCode)
    /// Called once a second: dial and idle time-outs.
    func sweep(now: UInt64)
}

/// Told once that a flow is over.
typealias FlowEnded = (any Flow) -> Void
