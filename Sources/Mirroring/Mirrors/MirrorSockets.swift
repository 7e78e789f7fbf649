internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Binds real sockets for mirrors.
final class MirrorSockets: MirrorSocketFactory {
    private let resources: Resources
    private let clients: InwardFlows
    private let places: GuestPlaces?

    /// More sockets than these for one listener are too many.
    private static let mostAddresses = 64
    /// What was read last, for a second.
    private var known: (addresses: [IPAddress], at: UInt64)?

    /// - Parameter places: What other guests' mirrors have; nil: there are none.
    init(_ resources: Resources, _ clients: InwardFlows, _ places: GuestPlaces? = nil) {
        self.resources = resources
        self.clients = clients
        self.places = places
    }

    func open(
        _ planned: PlannedSocket, _ transport: TransportProtocol, target: @escaping FindTarget
    ) throws(SystemError) -> any MirrorSocket {
        guard let places else { return try bind(planned, transport, target: target) }
        guard let claim = places.claim(planned, transport == .tcp ? .tcp : .udp) else {
            throw .addressInUse(by: "another guest's mirror")
        }
        return ClaimedMirror(try bind(planned, transport, target: target), claim)
    }

    func neighbours(inTheWayOf planned: PlannedSocket, _ kind: SocketKind) -> [Neighbour] {
        places?.neighbours(inTheWayOf: planned, kind) ?? []
    }

    func askForRoom(_ endpoint: Endpoint, _ kind: SocketKind, of neighbour: Neighbour) {
        places?.askForRoom(endpoint, kind, of: neighbour)
    }

    private func bind(
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
