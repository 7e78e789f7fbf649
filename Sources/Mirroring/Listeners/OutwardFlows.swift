internal import EventLoop
internal import Tunnel
internal import TwinportModel
internal import Wire

/// Creates a flow for each stream that the peer opens, and dials the listener. `InwardFlows` is the counterpart. Loop
/// thread only.
final class OutwardFlows {
    private let resources: Resources
    private let flows: FlowTable
    private let advertiser: Advertiser
    private let direction: Direction
    private let forget: FlowEnded

    init(
        _ resources: Resources, _ flows: FlowTable, _ advertiser: Advertiser, role: Role
    ) {
        self.resources = resources
        self.flows = flows
        self.advertiser = advertiser
        direction = role.outward
        forget = { [unowned flows] in flows.remove($0) }
    }

    /// A client at the peer's mirror wants one of our listeners: dials it, or refuses the stream.
    func opened(_ stream: TunnelStream, _ message: OpenMessage) {
        guard let offer = advertiser.lookup(message.listener),
            offer.listener.key.kind.transport == message.transport
        else {
            resources.counters.unknownListeners += 1
            return stream.refuse(.unknownListener)
        }
        let key = offer.listener.key
        let info = FlowInfo(
            id: flows.makeID(), transport: message.transport, direction: direction,
            listener: key.endpoint.unmapped, mirror: message.dialled, client: message.client,
            now: resources.loop.now, traffic: offer.traffic)
        let paths = paths(to: offer.listener, message)
        switch message.transport {
        case .tcp: dialTCP(paths, info, stream)
        case .udp: dialUDP(paths, info, stream)
        }
    }

    /// The ways to a listener. The peer's addresses serve the report, the choice of family, and what the listener sees;
    /// they are never dialled.
    private func paths(to listener: Listener, _ message: OpenMessage) -> [ClientPath] {
        let client = message.client
        if let published = listener.published {
            return published.path(isPlain: resources.clients.isPlain(client)).map { [$0] } ?? []
        }
        let targets = AddressRules.targets(
            for: listener.key, clientIsIPv6: message.dialled.address.unmapped.isIPv6)
        return resources.clients.paths(
            to: targets, of: listener.key.endpoint.unmapped, message.transport, for: client,
            now: resources.loop.now)
    }

    private func dialTCP(_ paths: [ClientPath], _ info: FlowInfo, _ stream: TunnelStream) {
        let flow = TCPFlow(resources, info: info, ended: forget)
        stream.attach(flow)
        flows.insert(flow)
        flow.dial(paths, for: stream)
    }

    private func dialUDP(_ paths: [ClientPath], _ info: FlowInfo, _ stream: TunnelStream) {
        guard flows.hasRoomForUDP else {
            resources.counters.dialsRefused += 1
            return stream.refuse(.limit)
        }
        let flow = UDPListenerFlow(resources, info: info, ended: forget)
        stream.attach(flow)
        flows.insert(flow)
        flow.dial(paths, for: stream)
    }
}
