internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import TwinportModel
internal import Wire

/// A UDP mirror: one bound socket, and one flow per client and address that the client asked.
///
/// Flows are kept in order of use; when there are too many, the least recently used makes room. The
/// socket is never connected, and no datagram closes it, so an unknown sender cannot end other
/// clients' flows. Loop thread only.
final class UDPMirror: MirrorSocket {
    /// The most flows of one mirror.
    static let maxFlows = 4_096
    /// For how many milliseconds one client's flood may keep the others' datagrams waiting.
    private static let longestPause: UInt64 = 5

    let planned: PlannedSocket
    private let resources: Resources
    private let clients: InwardFlows
    private let target: FindTarget
    private let inode: UInt64
    private var socket: Socket?
    private var poller: Poller?
    private var inlet = DatagramInlet()
    /// The flow that was full last: how much a turn brings goes by its room.
    private var busiest: UDPClientFlow?
    /// Ends a pause when that flow gets no room, for others' sake.
    private var patience: Timer?
    private var flows: [UDPFlowKey: UDPClientFlow] = [:]
    private var order = LeastRecentlyUsed()

    /// Binds.
    init(
        _ resources: Resources, clients: InwardFlows, planned: PlannedSocket,
        target: @escaping FindTarget
    ) throws(SystemError) {
        self.resources = resources
        self.clients = clients
        self.planned = planned
        self.target = target
        var inode: UInt64 = 0
        do throws(SystemError) {
            let socket = try Socket.boundUDP(
                to: planned.endpoint, isV6Only: planned.isV6Only, isMirror: true,
                sharesPort: planned.sharesPort
            ) {
                inode = $0
                resources.own.insert($0)
            }
            socket.takeSegments()
            let descriptor = socket.descriptor
            guard !resources.isReserved(descriptor) else {
                throw SystemError.noDescriptor(for: "bind")
            }
            self.socket = consume socket
            self.inode = inode
            poller = try Poller(loop: resources.loop, descriptor: descriptor) {
                [unowned self] events in
                ready(events)
            }
        } catch {
            resources.own.remove(inode)
            throw error
        }
        poller?.watch(.readable)
        clients.moved.opened(self, at: planned.endpoint)
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) {
            // An error of some datagram that was sent; reading it clears it.
            _ = socket?.takeError("recv")
            inlet.watch(poller)
        }
        if let busiest, busiest.isFull { return pause(for: busiest) }
        let batch = resources.batch
        inlet.begin(after: busiest?.waiting ?? DatagramQueue.Load())
        while let count = receive() { handOn(batch, count) }
    }

    /// Leaves datagrams in the kernel until a flow has room.
    private func pause(for flow: UDPClientFlow) {
        guard !inlet.isPaused else { return }
        flow.isAwaited = true
        inlet.pause(poller)
        if patience == nil {
            patience = try? Timer(loop: resources.loop) { [unowned self] in giveUp() }
        }
        patience?.start(after: Self.longestPause)
    }

    /// The flow has no room for too long: its datagrams are dropped from its queue, so that others' arrive.
    private func giveUp() {
        busiest?.isAwaited = false
        busiest = nil
        readAgain()
    }

    private func readAgain() {
        guard socket != nil, inlet.isPaused else { return }
        patience?.stop()
        inlet.resume(poller, socket!, resources)
    }

    private func receive() -> Int? {
        guard socket != nil else { return nil }
        do {
            return try inlet.receive(from: socket!, resources)
        } catch {
            resources.counters.datagramsDropped += 1
            return nil
        }
    }

    /// Gives datagrams to their flows, which they may begin.
    private func handOn(_ batch: DatagramBatch, _ count: Int) {
        var flow: UDPClientFlow?
        let inPackets = inlet.bringsPackets
        for index in 0..<count {
            if !batch.isFollower(index) { flow = self.flow(of: batch, index) }
            guard let flow else {
                resources.counters.datagramsDropped += 1
                continue
            }
            batch.withPayload(index) { flow.send($0, inPackets: inPackets) }
            if flow.isFull { busiest = flow }
        }
    }

    private func flow(of batch: DatagramBatch, _ index: Int) -> UDPClientFlow? {
        guard let address = batch.sender(index) else { return nil }
        let local = planned.endpoint.address.isWildcard ? batch.destination(index) : nil
        let client = UDPFlowKey(
            address: address, local: local, interface: batch.interface(index))
        guard let flow = flow(for: client, with: batch, index) else { return nil }
        touch(flow)
        return flow
    }

    /// The flow of a client, made if this datagram is its first.
    private func flow(
        for client: UDPFlowKey, with batch: DatagramBatch, _ index: Int
    ) -> UDPClientFlow? {
        if let flow = flows[client] { return flow }
        if flows.count >= Self.maxFlows || !clients.hasRoomForUDP {
            resources.counters.udpFlowsEvicted += 1
            order.oldest?.abort(.expired)
        }
        let dialled = Endpoint(
            client.local?.unmapped ?? planned.endpoint.address, planned.endpoint.port)
        guard clients.hasRoomForUDP,
            let flow = clients.openUDP(
                client, asking: dialled, with: batch.withPayload(index) { DatagramPrint($0) },
                at: self, target)
        else { return nil }
        flows[client] = flow
        order.add(flow)
        return flow
    }

    func pause(_ isPaused: Bool) {}

    func close() {
        for flow in flows.values { flow.abort(.disabled) }
        clients.moved.closed(self, at: planned.endpoint)
        poller?.close()
        poller = nil
        patience?.close()
        guard socket != nil else { return }
        socket = nil
        resources.own.remove(inode)
    }

}

extension UDPMirror: AddressSharer {
    func letIn(_ isOpen: Bool) {
        socket?.letIn(isOpen)
    }
}

extension UDPMirror: DatagramMirror {
    var moved: MovedFlows { clients.moved }

    func add(_ flow: UDPClientFlow) -> Bool {
        guard socket != nil, flows[flow.client] == nil, flows.count < Self.maxFlows else {
            return false
        }
        flows[flow.client] = flow
        order.add(flow)
        return true
    }

    func reply(_ datagram: Span<UInt8>, to client: UDPFlowKey) {
        guard socket != nil else { return }
        do {
            let sent = try socket!.sendDatagram(
                datagram, to: client.address, from: client.local, interface: client.interface)
            if !sent { resources.counters.datagramsDropped += 1 }
        } catch {
            resources.counters.datagramsDropped += 1
        }
    }

    func reply(
        _ run: DatagramRun, of bytes: Span<UInt8>, to client: UDPFlowKey,
        _ limit: inout SegmentLimit
    ) {
        guard socket != nil else { return }
        let way = DatagramWay(
            to: client.address, from: client.local, interface: client.interface)
        // Errors of a socket that is not connected concern single datagrams.
        let sent = resources.sender.send(run, of: bytes, through: socket!, way, &limit).sent
        resources.counters.datagramsDropped += UInt64(run.count - sent)
    }

    func touch(_ flow: UDPClientFlow) {
        // The most recent client costs no lookup.
        if !order.isNewest(flow), flows[flow.client] != nil { order.touch(flow) }
    }

    func hasRoom(_ flow: UDPClientFlow) {
        if flow === busiest { readAgain() }
    }

    func remove(_ flow: UDPClientFlow) {
        if flow === busiest { giveUp() }
        if flows.removeValue(forKey: flow.client) != nil { order.remove(flow) }
    }
}
