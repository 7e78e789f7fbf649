internal import Addresses
internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import Wire

/// A UDP mirror: one bound socket, and one flow per client and address that the client asked.
///
/// Flows are kept in order of use; when there are too many, the least recently used makes room. The
/// socket is never connected and never closed by anything a datagram does, so a stranger cannot
/// disturb it.
final class UDPMirror: MirrorSocket {
    /// The most flows of one mirror.
    static let maxFlows = 4_096
    /// What makes a flow: who sent, and to which of our addresses.
    struct ClientKey: Hashable {
        /// As the socket spells it, mapped or not.
        let client: Endpoint
        let local: IPAddress?
        /// On whose link the client is, if its address is a link-local one; else 0.
        let interface: UInt32
    }

    let planned: PlannedSocket
    private unowned let entry: MirrorEntry
    private unowned let side: Side
    private var socket: Socket?
    private var poller: Poller?
    private let inode: UInt64
    private var flows: [ClientKey: UDPClientFlow] = [:]
    private var turn = DatagramTurn()
    private var newest: UDPClientFlow?
    private var oldest: UDPClientFlow?

    /// Binds.
    ///
    /// - Throws: ``SystemError``, ``LoopError``.
    init(side: Side, entry: MirrorEntry, planned: PlannedSocket) throws {
        self.side = side
        self.entry = entry
        self.planned = planned
        var inode: UInt64 = 0
        do {
            let socket = try Socket.boundUDP(to: planned.endpoint, isV6Only: planned.isV6Only) {
                inode = $0
                side.own.insert($0)
            }
            let descriptor = socket.descriptor
            guard !side.isReserved(descriptor) else { throw SystemError.noDescriptor(for: "bind") }
            self.socket = consume socket
            self.inode = inode
            poller = try Poller(loop: side.loop, descriptor: descriptor) { [unowned self] events in
                ready(events)
            }
        } catch {
            side.own.remove(inode)
            throw error
        }
        poller?.watch(.readable)
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) {
            // An error of some datagram that was sent; reading it clears it.
            _ = socket?.takeError("recv")
            poller?.watch(.readable)
        }
        let batch = side.datagrams
        turn.begin()
        while let count = receive(batch) {
            for index in 0..<count { handOn(batch, index) }
        }
    }

    private func receive(_ batch: DatagramBatch) -> Int? {
        guard socket != nil else { return nil }
        do {
            return try turn.receive(batch, from: socket!)
        } catch {
            side.counters.datagramsDropped += 1
            return nil
        }
    }

    /// Gives a datagram to its flow, which it may begin.
    private func handOn(_ batch: DatagramBatch, _ index: Int) {
        guard let client = batch.sender(index) else { return }
        let local = planned.endpoint.address.isWildcard ? batch.destination(index) : nil
        let key = ClientKey(client: client, local: local, interface: batch.interface(index))
        guard let flow = flow(for: key) else {
            side.counters.datagramsDropped += 1
            return
        }
        touch(flow)
        batch.withPayload(index) { flow.send($0) }
    }

    private func flow(for key: ClientKey) -> UDPClientFlow? {
        if let flow = flows[key] { return flow }
        if flows.count >= Self.maxFlows || side.flows.udpCount >= FlowTable.maxUDP {
            side.counters.udpFlowsEvicted += 1
            oldest?.abort(.expired)
        }
        guard side.flows.udpCount < FlowTable.maxUDP else { return nil }
        guard let flow = side.openUDP(key, on: self, of: entry) else { return nil }
        flows[key] = flow
        pushNewest(flow)
        return flow
    }

    /// Sends an answer from the address that the client asked.
    func reply(_ datagram: Span<UInt8>, to key: ClientKey) {
        guard socket != nil else { return }
        do {
            let sent = try socket!.sendDatagram(
                datagram, to: key.client, from: key.local, interface: key.interface)
            if !sent { side.counters.datagramsDropped += 1 }
        } catch {
            side.counters.datagramsDropped += 1
        }
    }

    // MARK: Order of use

    func touch(_ flow: UDPClientFlow) {
        guard flow !== newest, flows[flow.key] != nil else { return }
        unlink(flow)
        pushNewest(flow)
    }

    func remove(_ flow: UDPClientFlow) {
        guard flows.removeValue(forKey: flow.key) != nil else { return }
        unlink(flow)
    }

    private func pushNewest(_ flow: UDPClientFlow) {
        flow.newer = nil
        flow.older = newest
        newest?.newer = flow
        newest = flow
        if oldest == nil { oldest = flow }
    }

    private func unlink(_ flow: UDPClientFlow) {
        let newer = flow.newer
        let older = flow.older
        newer?.older = older
        older?.newer = newer
        if newest === flow { newest = older }
        if oldest === flow { oldest = newer }
        flow.newer = nil
        flow.older = nil
    }

    func pause(_ isPaused: Bool) {}

    func close() {
        for flow in flows.values { flow.abort(.disabled) }
        poller?.close()
        poller = nil
        guard socket != nil else { return }
        socket = nil
        side.own.remove(inode)
    }
}
