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
        // The peer's addresses serve the report, the choice of family, and what the listener sees; they are
        // never dialled.
        let targets = AddressRules.targets(
            for: key, clientIsIPv6: message.dialled.address.unmapped.isIPv6)
        let info = FlowInfo(
            id: flows.makeID(), transport: message.transport, direction: direction,
            listener: key.endpoint.unmapped, mirror: message.dialled, client: message.client,
            now: resources.loop.now, traffic: offer.traffic)
        switch message.transport {
        case .tcp: dialTCP(targets, info, stream)
        case .udp: dialUDP(targets, info, stream)
        }
    }

    private func dialTCP(_ targets: [Endpoint], _ info: FlowInfo, _ stream: TunnelStream) {
        let flow = TCPFlow(resources, info: info, ended: forget)
        stream.attach(flow)
        flows.insert(flow)
        flow.dial(targets, for: stream)
    }

    private func dialUDP(_ targets: [Endpoint], _ info: FlowInfo, _ stream: TunnelStream) {
        guard flows.hasRoomForUDP else {
            resources.counters.dialsRefused += 1
            return stream.refuse(.limit)
        }
        let flow = UDPListenerFlow(resources, info: info, ended: forget)
        stream.attach(flow)
        flows.insert(flow)
        flow.dial(targets, for: stream)
    }
}
