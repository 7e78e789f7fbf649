internal import Addresses
internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import Tunnel
internal import Wire

/// One client's exchange with a UDP listener: the half with the listener. A connected socket of its own
/// stands for the client, so the listener tells clients apart, answers come back to the right one, and a
/// closed port is noticed. Loop thread only.
final class UDPListenerFlow: Flow {
    let info: FlowInfo
    private unowned let side: Side
    private var stream: TunnelStream?
    private var socket: Socket?
    private var poller: Poller?
    private var inode: UInt64?
    private var queue: DatagramQueue
    private var turn = DatagramTurn()
    private let idleLimit: UInt64
    /// The port was found closed; what had been answered before is being handed on.
    private var isRefused = false

    init(side: Side, info: FlowInfo, idle: UInt64) {
        self.side = side
        self.info = info
        idleLimit = idle
        queue = DatagramQueue(side.queued)
    }

    var stateName: String { "open" }

    /// Connects to the first of `targets` that can be, for a stream the peer opened.
    func dial(_ targets: [Endpoint], for stream: TunnelStream) {
        self.stream = stream
        for target in targets {
            do {
                socket = try Socket.dialUDP(target) { inode in
                    self.inode = inode
                    side.own.insert(inode)
                }
                if let raw = socket?.descriptor, side.isReserved(raw) { return refuseForLimit() }
                try watch()
                return stream.acceptOpen()
            } catch let error as SystemError where error.isAddressUnavailable {
                forgetInode()
            } catch let error as SystemError {
                return error.isExhaustion ? refuseForLimit() : refuse(.refused)
            } catch {
                return refuseForLimit()
            }
        }
        refuse(.refused)
    }

    private func refuseForLimit() {
        side.counters.dialsRefused += 1
        refuse(.limit)
    }

    private func watch() throws(LoopError) {
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: side.loop, descriptor: descriptor) { [unowned self] events in
            ready(events)
        }
        poller?.watch(.readable)
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) { return failed() }
        takeAnswers()
        if !queue.isEmpty { _ = stream?.markReady() }
    }

    private func takeAnswers() {
        let batch = side.datagrams
        turn.begin()
        while let count = receive(batch) {
            for index in 0..<count { batch.withPayload(index) { enqueue($0) } }
        }
    }

    private func receive(_ batch: DatagramBatch) -> Int? {
        guard socket != nil else { return nil }
        do {
            return try turn.receive(batch, from: socket!)
        } catch {
            ended(by: error)
            return nil
        }
    }

    private func enqueue(_ payload: Span<UInt8>) {
        info.count(payload.count, towardsListener: false, now: side.loop.now)
        side.counters.datagramsDropped += UInt64(queue.push(payload))
    }

    /// EPOLLERR: an ICMP error came back.
    private func failed() {
        if let error = socket?.takeError("recv") { ended(by: error) }
        if !isRefused { poller?.watch(.readable) }
    }

    /// Only a closed port ends the flow; anything else concerns one datagram.
    private func ended(by error: SystemError) {
        guard error.isRefused else { return side.counters.datagramsDropped += 1 }
        guard !isRefused else { return }
        isRefused = true
        poller?.watch([])
        // The kernel tells of the closed port before it gives what came from there.
        takeAnswers()
        guard !queue.isEmpty, let stream, stream.markReady() != .closed else {
            return abort(.refused)
        }
    }

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        if queue.isEmpty, isRefused { takeAnswers() }
        guard !queue.isEmpty else {
            guard isRefused else { return .nothing }
            finish()
            return .failed(.refused)
        }
        guard let count = queue.pop(into: buffer, limit: limit) else { return .noRoom }
        return .bytes(count, more: !queue.isEmpty || isRefused)
    }

    func received(_ datagram: Span<UInt8>) {
        info.count(datagram.count, towardsListener: true, now: side.loop.now)
        guard socket != nil, !isRefused else { return side.counters.datagramsDropped += 1 }
        do {
            if try !socket!.sendDatagram(datagram) { side.counters.datagramsDropped += 1 }
        } catch {
            ended(by: error)
        }
    }

    func streamOpened() {}
    func receivedEnd() { abort(.violation) }
    func streamEnded(_ code: ResetCode) { finish() }

    func abort(_ code: ResetCode) {
        stream?.reset(code)
        finish()
    }

    private func refuse(_ code: ResetCode) {
        stream?.refuse(code)
        finish()
    }

    func sweep(now: UInt64) {
        if now &- info.lastActive >= idleLimit { abort(.expired) }
    }

    private func finish() {
        queue.removeAll()
        stream?.handler = nil
        stream = nil
        poller?.close()
        poller = nil
        socket = nil
        forgetInode()
        side.flows.remove(self)
    }

    private func forgetInode() {
        if let inode { side.own.remove(inode) }
        inode = nil
    }
}
