internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Binds real sockets for mirrors.
final class MirrorSockets: MirrorSocketFactory {
    private let resources: Resources
    private let clients: InwardFlows

    /// More sockets than these for one listener are too many.
    private static let mostAddresses = 64
    /// What was read last, for a second.
    private var known: (addresses: [IPAddress], at: UInt64)?

    init(_ resources: Resources, _ clients: InwardFlows) {
        self.resources = resources
        self.clients = clients
    }

    func open(
        _ planned: PlannedSocket, _ transport: TransportProtocol, target: @escaping FindTarget
    ) throws(SystemError) -> any MirrorSocket {
        switch transport {
        case .tcp:
            try TCPMirror(resources, clients: clients, planned: planned, target: target)
        case .udp:
            try UDPMirror(resources, clients: clients, planned: planned, target: target)
        }
    }

    func localAddresses() -> [IPAddress] {
        let now = resources.loop.now
        if let known, now < known.at + 1_000 { return known.addresses }
        let addresses = Array(Network.addresses().prefix(Self.mostAddresses))
        known = (addresses, now)
        return addresses
    }
}
