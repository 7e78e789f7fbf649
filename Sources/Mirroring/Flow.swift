internal import Addresses
internal import Tunnel
internal import Wire

/// Traffic of one listener, over all its flows. `in` is towards the listener, `out` is from it.
final class Traffic {
    var flows = 0
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
}

/// Which way a flow was opened. The client is on the machine with the mirror.
public enum Direction: String, Sendable {
    /// A client on the host, a listener in the guest.
    case guestToHost = "guest-to-host"
    /// A client in the guest, a listener on the host.
    case hostToGuest = "host-to-guest"
}

/// What every flow knows of itself, for reports and limits.
final class FlowInfo {
    let id: UInt64
    let transport: TransportProtocol
    let direction: Direction
    let listener: Endpoint
    let mirror: Endpoint
    let client: Endpoint
    let started: UInt64
    let traffic: Traffic
    /// When bytes last moved either way, in loop milliseconds.
    var lastActive: UInt64
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0

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

    /// Counts bytes that moved.
    func count(_ bytes: Int, towardsListener: Bool, now: UInt64) {
        lastActive = now
        if towardsListener {
            bytesIn += UInt64(bytes)
            traffic.bytesIn += UInt64(bytes)
        } else {
            bytesOut += UInt64(bytes)
            traffic.bytesOut += UInt64(bytes)
        }
    }
}

/// One half of a forwarded connection or datagram exchange: the half on this machine.
protocol Flow: StreamHandler {
    var info: FlowInfo { get }
    /// One word for reports.
    var stateName: String { get }
    /// Ends the flow from our side: the application sees a reset, the peer the code.
    func abort(_ code: ResetCode)
    /// Called once a second: dial and idle time-outs.
    func sweep(now: UInt64)
}
