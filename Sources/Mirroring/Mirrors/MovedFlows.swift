internal import Posix
internal import TwinportModel
internal import Wire

/// A mirror that lets others in at its address for a moment.
protocol AddressSharer: AnyObject {
    /// Lets sockets of ours in, or nobody.
    func letIn(_ isOpen: Bool)
}

/// The flows that have left their mirror for a socket of their own. The least recently used one makes room when there
/// are too many: each has a descriptor and a port, and the peer decides which. Loop thread only.
final class MovedFlows: FlowKeeper {
    static let maxFlows = 1_024

    private let resources: Resources
    private var flows: [ObjectIdentifier: UDPClientFlow] = [:]
    private var order = LeastRecentlyUsed()

    /// Whether the rules leave a port to mirrors.
    var isAllowed: (Port) -> Bool = { _ in true }
    /// Ports below are not for answers.
    private static let firstPort: Port = 1_024
    /// UDP mirrors that are open, by their addresses.
    private var mirrors: [Endpoint: any AddressSharer] = [:]

    init(_ resources: Resources) {
        self.resources = resources
    }

    func opened(_ mirror: any AddressSharer, at endpoint: Endpoint) {
        mirrors[endpoint] = mirror
    }

    func closed(_ mirror: any AddressSharer, at endpoint: Endpoint) {
        if mirrors[endpoint] === mirror { mirrors[endpoint] = nil }
    }

    /// Whether answers may come from this place. Nothing is bound where no mirror would be.
    func mayBind(_ place: Endpoint) -> Bool {
        place.port >= Self.firstPort && isAllowed(place.port)
    }

    /// A process of this machine is about to bind `endpoint`: a flow in its way ends.
    func localWants(_ endpoint: Endpoint) {
        for flow in flows.values where flow.answersFrom(endpoint) { flow.abort(.limit) }
    }

    /// Calls `body` to bind a socket at `place`. The port that answers may be mirrored by now, since it was told of as any
    /// other: for the moment of the bind that mirror shares its address. The new socket is connected to the client, so
    /// what the client sends comes to it and not to the mirror.
    func bind<Value>(
        at place: Endpoint, _ body: (_ besideMirror: Bool) throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        let wildcard = Endpoint(place.address.isIPv6 ? .anyV6 : .anyV4, place.port)
        guard let mirror = mirrors[place] ?? mirrors[wildcard] else { return try body(false) }
        mirror.letIn(true)
        defer { mirror.letIn(false) }
        return try body(true)
    }

    func add(_ flow: UDPClientFlow) {
        if flows.count >= Self.maxFlows {
            resources.counters.udpFlowsEvicted += 1
            order.oldest?.abort(.expired)
        }
        flows[ObjectIdentifier(flow)] = flow
        order.add(flow)
    }

    func touch(_ flow: UDPClientFlow) {
        if !order.isNewest(flow), flows[ObjectIdentifier(flow)] != nil { order.touch(flow) }
    }

    func remove(_ flow: UDPClientFlow) {
        if flows.removeValue(forKey: ObjectIdentifier(flow)) != nil { order.remove(flow) }
    }
}
