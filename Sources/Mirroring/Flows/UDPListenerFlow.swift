internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

/// One client's exchange with a UDP listener: the half with the listener. A socket of its own stands for the
/// client, so the listener tells clients apart, answers come back to the right one, and a closed port is
/// noticed. Loop thread only.
///
/// The first answer from the port that was asked connects the socket to it. A server such as tftpd answers from a port
/// that it opened for this client instead (RFC 1350 §4): the peer is told (MOVED), and the exchange goes on with that
/// port. The socket stays unconnected then, for it may have been a stranger, to be forgotten when the listener answers;
/// ``AskingFlows`` says how long.
///
/// The half with the mirror decides when the flow was idle for too long: it can see whether the client is still there.
final class UDPListenerFlow: Flow {
    let info: FlowInfo
    private let resources: Resources
    private let ended: FlowEnded
    private var stream: TunnelStream?
    private var socket: Socket?
    private var poller: Poller?
    private var inode: UInt64?
    private var queue: DatagramQueue
    private var inlet = DatagramInlet()
    private var partner = Partner.none
    private var sending = Sending()

    private struct Sending {
        /// The port was found closed; what had been answered before is being handed on.
        var isRefused = false
        /// Of the way to the listener.
        var segments = SegmentLimit()
    }

    private var isRefused: Bool { sending.isRefused }

    /// Who asks sends no more than so many bytes before there is an answer.
    private static let mostAsked: UInt64 = 16_384

    /// Which senders the socket accepts.
    private enum Partner {
        case none
        /// The listener has not answered. Perhaps another port of its address has, and perhaps the client went on with
        /// that.
        case asked(Endpoint, UInt16?, isFollowed: Bool)
        /// The socket is connected; what others sent before may still wait in it.
        case settling(Endpoint)
        case settled
    }

    init(_ resources: Resources, info: FlowInfo, ended: @escaping FlowEnded) {
        self.resources = resources
        self.info = info
        self.ended = ended
        queue = DatagramQueue(resources.queued)
    }

    var state: FlowState { .open }

    /// Makes a socket for the first of `paths` that this machine has, for a stream the peer opened.
    func dial(_ paths: [ClientPath], for stream: TunnelStream) {
        self.stream = stream
        let now = resources.loop.now
        for path in paths {
            do {
                socket = try resources.clients.socket(
                    for: path, info.client, of: info.id, now: now
                ) { inode in
                    forgetInode()
                    self.inode = inode
                    resources.own.insert(inode)
                }
                socket?.takeSegments()
                partner = .asked(path.target, nil, isFollowed: false)
                resources.asking.add(self, now: resources.loop.now)
                if let raw = socket?.descriptor, resources.isReserved(raw) {
                    return refuseForLimit()
                }
                try watch()
                return stream.acceptOpen()
            } catch {
                forgetInode()
                if error.isExhaustion { return refuseForLimit() }
                guard path.source != .loopback || error.isAddressUnavailable else { break }
            }
        }
        // All ports may be in use from which it could be asked.
        if resources.clients.isPlain(info.client) { refuse(.refused) } else { refuseForLimit() }
    }

    private func refuseForLimit() {
        resources.counters.dialsRefused += 1
        refuse(.limit)
    }

    private func watch() throws(SystemError) {
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: resources.loop, descriptor: descriptor) { [unowned self] events in
            ready(events)
        }
        poller?.watch(.readable)
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) { return failed() }
        if queue.isFull, !isRefused { return pause() }
        takeAnswers()
        if !queue.isEmpty { _ = stream?.markReady() }
    }

    private func pause() {
        var inlet = self.inlet
        inlet.pause(poller)
        self.inlet = inlet
    }

    private func takeAnswers() {
        let batch = resources.batch
        inlet.begin(after: queue.load)
        while let count = receive() {
            for index in 0..<count where accepts(batch, index) {
                batch.withPayload(index) { enqueue($0) }
            }
        }
        if case .settling = partner, inlet.isDrained { partner = .settled }
    }

    /// Whether a datagram is an answer.
    private func accepts(_ batch: DatagramBatch, _ index: Int) -> Bool {
        switch partner {
        case .none: return false
        case .settled: return true
        case .settling(let source): return batch.sender(index) == source
        case .asked(let target, let other, _):
            guard let source = batch.sender(index), source.address == target.address else {
                return false
            }
            if source.port == target.port { return settle(on: source, after: other) }
            return source.port == other || (other == nil && move(to: source.port, from: target))
        }
    }

    /// The listener answers. The port that did before it was a stranger's.
    private func settle(on source: Endpoint, after other: UInt16?) -> Bool {
        if other != nil {
            queue.removeAll()
            _ = stream?.move(to: source.port)
        }
        resources.asking.remove(self)
        return connect(to: source)
    }

    private func connect(to source: Endpoint) -> Bool {
        do {
            try socket?.settle(on: source)
        } catch {
            resources.counters.datagramsDropped += 1
            return false
        }
        partner = .settling(source)
        return true
    }

    /// The socket hears one port only from now on: the other one, if the client went on with it, else the listener's.
    func stopAsking() {
        guard case .asked(let target, let other, let isFollowed) = partner else { return }
        let port = isFollowed ? other ?? target.port : target.port
        _ = connect(to: Endpoint(target.address, port))
    }

    /// Other Twinports take the socket for ours, and not for a listener.
    func markAsMirror() {
        socket?.markAsMirror()
    }

    /// The first answer comes from another port.
    private func move(to port: UInt16, from target: Endpoint) -> Bool {
        guard port >= 1_024, stream?.move(to: port) == true else {
            resources.counters.answersNotCarried += 1
            return false
        }
        resources.counters.flowsMoved += 1
        partner = .asked(target, port, isFollowed: false)
        return true
    }

    private func receive() -> Int? {
        guard socket != nil else { return nil }
        // Changed in a copy and put back: an access that lasts for a call would make each one a checked one.
        var inlet = self.inlet
        let received: Result<Int?, SystemError>
        do {
            received = .success(try inlet.receive(from: socket!, resources))
        } catch {
            received = .failure(error)
        }
        self.inlet = inlet
        switch received {
        case .success(let count): return count
        case .failure(let error):
            failed(by: error)
            return nil
        }
    }

    private func enqueue(_ payload: Span<UInt8>) {
        info.count(payload.count, towardsListener: false, now: resources.loop.now)
        resources.counters.datagramsDropped += UInt64(
            queue.push(payload, inPackets: inlet.bringsPackets))
    }

    /// EPOLLERR: an ICMP error came back.
    private func failed() {
        if let error = socket?.takeError("recv") { failed(by: error) }
        if case .asked(let target, _, _) = partner, !isRefused {
            socket?.dropErrors(isIPv6: target.address.isIPv6)
        }
        if !isRefused { inlet.watch(poller) }
    }

    /// Only a closed port ends the flow; anything else concerns one datagram.
    private func failed(by error: SystemError) {
        guard error.isRefused else { return resources.counters.datagramsDropped += 1 }
        guard !isRefused else { return }
        sending.isRefused = true
        if info.bytesOut == 0 { info.listenerFailed(.refused) }
        poller?.watch(.nothing)
        // recv(2) returns the ICMP error before the datagrams that are still queued. Read those now.
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
        if inlet.isPaused, queue.hasRoom { readAgain() }
        return .bytes(count, more: !queue.isEmpty || isRefused)
    }

    private func readAgain() {
        guard socket != nil, !isRefused else { return }
        var inlet = self.inlet
        inlet.resume(poller, socket!, resources)
        self.inlet = inlet
    }

    func received(_ datagram: Span<UInt8>) {
        info.count(datagram.count, towardsListener: true, now: resources.loop.now)
        guard socket != nil, !isRefused else { return resources.counters.datagramsDropped += 1 }
        do {
            if try !send(datagram) { resources.counters.datagramsDropped += 1 }
        } catch {
            // The one that met the closed port was an earlier one; this one was not sent.
            if error.isRefused { resources.counters.datagramsDropped += 1 }
            failed(by: error)
        }
        // A stream that nobody answers: a connected socket sends it in half the time.
        if case .asked = partner, info.bytesIn > Self.mostAsked {
            resources.asking.remove(self)
            stopAsking()
        }
    }

    func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun) {
        guard isConnected, !isRefused else {
            for index in 0..<run.count { received(bytes.extracting(run[index])) }
            return
        }
        info.count(run.byteCount, towardsListener: true, now: resources.loop.now)
        let (sent, error) = resources.sender.send(
            run, of: bytes, through: socket!, nil, &sending.segments)
        resources.counters.datagramsDropped += UInt64(run.count - sent)
        if let error { failed(by: error) }
    }

    /// Whether the socket is, to the listener.
    private var isConnected: Bool {
        guard socket != nil else { return false }
        switch partner {
        case .settling, .settled: return true
        case .none, .asked: return false
        }
    }

    private func send(_ datagram: Span<UInt8>) throws(SystemError) -> Bool {
        if case .asked(let target, let other, _) = partner {
            partner = .asked(target, other, isFollowed: other != nil)
            return try socket!.sendDatagram(
                datagram, to: Endpoint(target.address, other ?? target.port), from: nil)
        }
        return try socket!.sendDatagram(datagram)
    }

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

    func sweep(now: UInt64) {}

    private func finish() {
        resources.asking.remove(self)
        resources.clients.release(info.id, now: resources.loop.now)
        queue.removeAll()
        stream?.attach(nil)
        stream = nil
        poller?.close()
        poller = nil
        socket = nil
        forgetInode()
        ended(self)
    }

    private func forgetInode() {
        if let inode { resources.own.remove(inode) }
        inode = nil
    }
}
