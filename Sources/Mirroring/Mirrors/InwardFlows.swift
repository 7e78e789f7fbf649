internal import EventLoop
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

/// Creates a flow for each client of a mirror, and opens its stream. ``OutwardFlows`` is the counterpart. Loop thread
/// only.
final class InwardFlows {
    private let resources: Resources
    private let flows: FlowTable
    private let direction: Direction
    private let forget: FlowEnded
    /// UDP flows that left their mirrors.
    let moved: MovedFlows
    /// The live session.
    var session: Session?
    /// For the idle time of UDP flows.
    var policy: MirrorPolicy
    private var held = HeldClients<HeldClient>()
    private var heldFlows = HeldClients<HeldFlow>()
    private var repeats = DatagramRepeats()

    init(_ resources: Resources, _ flows: FlowTable, role: Role, policy: MirrorPolicy) {
        self.resources = resources
        self.flows = flows
        self.policy = policy
        direction = role.inward
        moved = MovedFlows(resources)
        forget = { [unowned flows] in flows.remove($0) }
        moved.isAllowed = { [unowned self] port in
            self.policy.mayAnswer(from: port)
        }
    }

    /// Whether this machine takes one more UDP flow.
    var hasRoomForUDP: Bool { flows.hasRoomForUDP }

    /// Takes a connection that a TCP mirror accepted. It may be held for a moment: see LoopWatch.swift.
    func accepted(_ socket: consuming Socket, _ find: @escaping FindTarget) {
        guard session != nil, let own = try? socket.localEndpoint().unmapped,
            let target = find(own.address)
        else { return refuse(socket) }
        let watch = target.loop
        switch watch.arrived(now: resources.loop.now) {
        case .pass: open(socket, own, target)
        case .passAll:
            held.take(watch).forEach(passOn)
            open(socket, own, target)
        case .hold(let time):
            let client = HeldClient(socket, own, find)
            let isHeld = held.hold(client, of: watch, for: time, on: resources.loop) {
                [unowned self] in
                held.take(watch).forEach(passOn)
                // After OPEN: what comes from now on may be its doing.
                watch.released(now: resources.loop.now)
            }
            if !isHeld { passOn(client) }
        case .loop:
            refuse(socket)
            abortFutile(of: target)
        }
    }

    private func passOn(_ client: HeldClient) {
        guard let socket = client.socket.take() else { return }
        guard let target = client.find(client.own.address) else { return refuse(socket) }
        open(socket, client.own, target)
    }

    /// Ends what is held.
    func close() {
        held.removeAll()
        heldFlows.removeAll()
    }

    private func open(_ socket: consuming Socket, _ own: Endpoint, _ target: MirrorTarget) {
        guard let session, let client = try? socket.peerEndpoint().unmapped else {
            return refuse(socket)
        }
        let flow = TCPFlow(
            resources, info: makeInfo(.tcp, target, mirror: own, client: client),
            accepted: socket, ended: forget)
        if target.sendsProxyHeader {
            flow.extras.preface = ProxyHeader.bytes(client: client, dialled: own)
        }
        flows.insert(flow)
        target.loop.passed(flow.info, now: resources.loop.now)
        let stream = session.open(
            target.number, .tcp, client: client, dialled: own, handler: flow)
        // OPEN first: while the rest is set up here, the far side wakes up and dials.
        session.pump()
        if let stream, (try? flow.start(on: stream)) != nil { return }
        // No number is free, or epoll takes no more descriptors.
        resources.counters.connectionsRefused += 1
        flow.abort(.limit)
    }

    private func refuse(_ socket: consuming Socket) {
        resources.counters.connectionsRefused += 1
        socket.resetOnClose()
    }

    private func makeInfo(
        _ transport: TransportProtocol, _ target: MirrorTarget, mirror: Endpoint, client: Endpoint
    ) -> FlowInfo {
        FlowInfo(
            id: flows.makeID(), transport: transport, direction: direction,
            listener: target.key.endpoint.unmapped, mirror: mirror, client: client,
            now: resources.loop.now, traffic: target.traffic)
    }
}

// MARK: - UDP

extension InwardFlows {
    /// Begins the flow of a client that a UDP mirror has not seen yet. It may be held for a moment: see
    /// DatagramLoopWatch.swift.
    ///
    /// - Parameters:
    ///   - dialled: The address and port of the mirror that the client asked.
    ///   - print: Its first datagram's.
    /// - Returns: Nil without a session, when no stream is free, or in a loop.
    func openUDP(
        _ client: UDPFlowKey, asking dialled: Endpoint, with print: DatagramPrint,
        at mirror: any DatagramMirror, _ find: @escaping FindTarget
    ) -> UDPClientFlow? {
        guard session != nil, let target = find(dialled.address), !target.loop.isLoop
        else { return nil }
        let flow = UDPClientFlow(
            resources, mirror: mirror, client: client,
            info: makeInfo(.udp, target, mirror: dialled, client: client.address.unmapped),
            idle: policy.idleLimit(port: target.key.endpoint.port), ended: forget)
        let watch = target.loop
        let chain = repeats.add(print, flow.info, after: watch.datagrams.refutedAt)
        switch watch.datagrams.arrived(chain, now: resources.loop.now) {
        case .pass: return open(flow, target)
        case .passAll:
            heldFlows.take(watch).forEach(passOn)
            return open(flow, target)
        case .hold(let time):
            guard hold(flow, find, watch, for: time) else { return open(flow, target) }
            flows.insert(flow)
            return flow
        case .loop:
            heldFlows.take(watch).forEach { $0.flow.abort(.refused) }
            abortFutile(of: target)
            return nil
        }
    }

    private func hold(
        _ flow: UDPClientFlow, _ find: @escaping FindTarget, _ watch: LoopWatch, for time: UInt64
    ) -> Bool {
        let isHeld = heldFlows.hold(
            HeldFlow(flow: flow, find: find), of: watch, for: time, on: resources.loop
        ) { [unowned self] in
            timeOver(watch)
        }
        if !isHeld { watch.datagrams.giveUp() }
        return isHeld
    }

    private func timeOver(_ watch: LoopWatch) {
        switch watch.datagrams.timeOver(now: resources.loop.now) {
        case .passOne(let time):
            if let next = heldFlows.takeFirst(watch, andWait: time) { passOn(next) }
        case .passAll: heldFlows.take(watch).forEach(passOn)
        }
    }

    private func passOn(_ held: HeldFlow) {
        guard !held.flow.info.isOver else { return }
        guard let target = held.find(held.flow.info.mirror.address),
            let stream = openStream(held.flow, target)
        else { return held.flow.abort(.limit) }
        held.flow.start(on: stream)
    }

    private func open(_ flow: UDPClientFlow, _ target: MirrorTarget) -> UDPClientFlow? {
        guard let stream = openStream(flow, target) else { return nil }
        flow.start(on: stream)
        flows.insert(flow)
        return flow
    }

    private func openStream(_ flow: UDPClientFlow, _ target: MirrorTarget) -> TunnelStream? {
        session?.open(
            target.number, .udp, client: flow.info.client, dialled: flow.info.mirror, handler: flow)
    }

    /// Ends the flows of a proved loop that wait for an answer.
    private func abortFutile(of target: MirrorTarget) {
        flows.abort(.refused) { $0.info.traffic === target.traffic && LoopWatch.isFutile($0.info) }
    }
}
