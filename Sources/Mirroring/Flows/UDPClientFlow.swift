internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

/// What lists a flow in order of use, and owns it there.
protocol FlowKeeper: AnyObject {
    /// The flow was used: it is the last to give way to others.
    func touch(_ flow: UDPClientFlow)
    /// The flow is over, or goes elsewhere.
    func remove(_ flow: UDPClientFlow)
}

/// What a flow needs of the mirror that its client asked.
protocol DatagramMirror: FlowKeeper {
    /// Sends an answer from the address that the client asked.
    func reply(_ datagram: Span<UInt8>, to client: UDPFlowKey)
    /// Sends several.
    func reply(
        _ run: DatagramRun, of bytes: Span<UInt8>, to client: UDPFlowKey,
        _ limit: inout SegmentLimit)
    /// Lists a flow again that had left.
    ///
    /// - Returns: False when its client has another flow by now, or the mirror is closed.
    func add(_ flow: UDPClientFlow) -> Bool
    /// Lists flows that have left their mirrors.
    var moved: MovedFlows { get }
    /// A flow that had been full can take datagrams again; see ``UDPClientFlow/isAwaited``.
    func hasRoom(_ flow: UDPClientFlow)
}

/// One client of a UDP mirror: everything it sends to one address of the mirror, and the answers. The half
/// with the mirror. Loop thread only.
///
/// When another port answers (MOVED), the flow leaves its mirror, and a socket on that port takes its place. What the
/// client sends to the mirror after that is a new flow. A client whose kernel refuses what comes from there never hears
/// it; the flow then waits for the listener's own answer, which brings it back to the mirror.
final class UDPClientFlow: Flow {
    let info: FlowInfo
    let client: UDPFlowKey
    private let resources: Resources
    private let ended: FlowEnded
    private let idleLimit: UInt64
    /// It may be closed once the flow has left it.
    private let mirror: any DatagramMirror
    private var path = Path.mirror
    private var holding = Holding()

    private struct Holding {
        /// When its stream was opened; later than the flow began, if it was held to find a loop.
        var askedAt: UInt64 = 0
        /// Until when the flow stays although it is idle, because its client is still there.
        var until: UInt64 = 0
        /// Whether the client has answered a port that it had not asked.
        var hasAccepted = false
    }
    private var stream: TunnelStream?
    private var queue: DatagramQueue
    /// Of the way to the client.
    private var segments = SegmentLimit()
    /// Whether the socket is left alone until there is room in the queue.
    var isAwaited = false

    /// The neighbours in the mirror's list of flows, most recently used first. The mirror owns them, and takes a
    /// flow out of the list before it lets it go.
    unowned var newer: UDPClientFlow?
    unowned var older: UDPClientFlow?

    init(
        _ resources: Resources, mirror: any DatagramMirror, client: UDPFlowKey, info: FlowInfo,
        idle: UInt64, ended: @escaping FlowEnded
    ) {
        self.resources = resources
        self.mirror = mirror
        self.client = client
        self.info = info
        self.ended = ended
        idleLimit = idle
        queue = DatagramQueue(resources.queued)
    }

    /// How the client is reached.
    private enum Path {
        case mirror
        case own(AnswerSocket, MovedFlows)
        /// The client does not want to hear the other port.
        case refused
    }

    private var keeper: (any FlowKeeper)? {
        switch path {
        case .mirror: mirror
        case .own(_, let moved): moved
        case .refused: nil
        }
    }

    var state: FlowState { .open }

    func start(on stream: TunnelStream) {
        holding.askedAt = resources.loop.now
        self.stream = stream
        if !queue.isEmpty { _ = stream.markReady() }
    }

    /// Takes a datagram from the client.
    ///
    /// - Parameter inPackets: Whether packets of several come from where it came.
    func send(_ datagram: Span<UInt8>, inPackets: Bool) {
        info.count(datagram.count, towardsListener: true, now: resources.loop.now)
        resources.counters.datagramsDropped += UInt64(queue.push(datagram, inPackets: inPackets))
        _ = stream?.markReady()
    }

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        guard !queue.isEmpty else { return .nothing }
        guard let count = queue.pop(into: buffer, limit: limit) else { return .noRoom }
        if isAwaited, queue.hasRoom { haveRead() }
        return .bytes(count, more: !queue.isEmpty)
    }

    /// What waits for the tunnel.
    var waiting: DatagramQueue.Load { queue.load }
    var isFull: Bool { queue.isFull }

    private func haveRead() {
        isAwaited = false
        if case .own(let socket, _) = path { socket.resume() } else { mirror.hasRoom(self) }
    }

    func received(_ datagram: Span<UInt8>) {
        info.count(datagram.count, towardsListener: false, now: resources.loop.now)
        keeper?.touch(self)
        switch path {
        case .mirror: mirror.reply(datagram, to: client)
        case .own(let socket, _):
            do {
                try socket.send(datagram)
            } catch {
                lost(error)
            }
        case .refused: resources.counters.datagramsDropped += 1
        }
    }

    func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun) {
        info.count(run.byteCount, towardsListener: false, now: resources.loop.now)
        keeper?.touch(self)
        switch path {
        case .mirror: mirror.reply(run, of: bytes, to: client, &segments)
        case .own(let socket, _):
            do {
                try socket.send(run, of: bytes, &segments)
            } catch {
                failed(error)
            }
        case .refused: resources.counters.datagramsDropped += UInt64(run.count)
        }
    }

    // MARK: Answers from another port

    func moved(to port: UInt16) {
        if port == info.listener.port { return comeBack() }
        let moved = mirror.moved
        let place = Endpoint(info.mirror.address, port)
        guard case .mirror = path, moved.mayBind(place) else { return cannotMove() }
        do {
            let socket = try moved.bind(at: place) { (isShared) throws(SystemError) in
                try AnswerSocket(
                    resources, place, isShared: isShared, client: info.client,
                    interface: client.interface
                ) { [unowned self] events in
                    ready(events)
                }
            }
            mirror.remove(self)
            path = .own(socket, moved)
            moved.add(self)
            resources.counters.flowsMoved += 1
        } catch {
            cannotMove()
        }
    }

    /// Whether its answers leave from a socket that a bind to `endpoint` would meet.
    func answersFrom(_ endpoint: Endpoint) -> Bool {
        guard case .own(let socket, _) = path, socket.place.port == endpoint.port else {
            return false
        }
        let address = endpoint.address.unmapped
        return address.isWildcard || address == socket.place.address
    }

    private func comeBack() {
        if case .mirror = path { return }
        leave()
        // The client may have asked again meanwhile, which was a new flow; or the mirror is gone.
        guard mirror.add(self) else { return abort(.expired) }
        path = .mirror
    }

    private func leave() {
        keeper?.remove(self)
        if case .own(let socket, _) = path { socket.close() }
        path = .refused
    }

    /// Nothing that comes from there may reach the client from the port it had asked. The listener itself may still
    /// answer: whoever sent this may have been a stranger.
    private func cannotMove() {
        resources.counters.answersNotCarried += 1
        leave()
    }

    private func ready(_ events: Poller.Events) {
        guard case .own(let socket, _) = path else { return }
        if events.contains(.failed), let error = socket.takeError() { return lost(error) }
        if isFull {
            isAwaited = true
            return socket.pause()
        }
        do {
            try socket.receive(after: queue.load) { send($0, inPackets: $1) }
        } catch {
            return lost(error)
        }
        holding.hasAccepted = true
        keeper?.touch(self)
    }

    /// An error that cost one datagram.
    private func lost(_ error: SystemError) {
        resources.counters.datagramsDropped += 1
        failed(error)
    }

    /// Only a closed port ends the exchange.
    private func failed(_ error: SystemError) {
        guard error.isRefused else { return }
        if holding.hasAccepted { abort(.refused) } else { leave() }
    }

    func receivedEnd() { abort(.violation) }
    func streamEnded(_ code: ResetCode) {
        if info.bytesOut == 0 { info.listenerFailed(code) }
        finish()
    }

    func abort(_ code: ResetCode) {
        stream?.reset(code)
        finish()
    }

    func sweep(now: UInt64) {
        if info.isUnanswered(stream, since: holding.askedAt, now: now) { return abort(.timedOut) }
        guard now &- info.lastActive >= idleLimit, now >= holding.until else { return }
        // A client elsewhere cannot be asked about.
        guard info.client.address.isLoopback || info.client.address == info.mirror.address else {
            return abort(.expired)
        }
        switch resources.questions.hasReceiver(info.client, from: info.mirror) {
        case .later: return
        case .value(true): holding.until = now + idleLimit
        case .value(false): abort(.expired)
        }
    }

    private func finish() {
        queue.removeAll()
        stream?.attach(nil)
        stream = nil
        leave()
        ended(self)
    }
}
