internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

// # A TCP flow
//
// One application connection on this machine, one stream through the tunnel. The half with the mirror
// was accepted, the half with the listener was dialled; from `connected` on they are the same.
//
//     application ──readable──▶ markReady ──scheduler's turn──▶ fill: read(2) behind the header ──▶ tunnel
//     tunnel ──DATA──▶ received: write(2) ──what the kernel took──▶ credit back to the peer
//                              └─ the rest waits in `pending` until writable
//
// ## Pausing
//
// The poller is level-triggered. After `markReady` the descriptor stays watched: in the usual case the
// turn comes before the loop polls again, and not touching epoll saves two system calls. Only when it
// fires a second time while the flow still waits (the tunnel is full, or credit is used up) is reading
// paused, until the next turn finds the socket drained. A paused flow watches `errorsOnly`, so that the
// application's RST is seen although nobody reads.
//
// ## Ends
//
//     application FIN: read returns 0      → FIN to the peer; the other direction goes on without limit
//     peer's FIN                           → when `pending` is empty: shutdown(SHUT_WR)
//     application RST, write to a dead one → what came before it is still read; then RESET to the peer
//     peer's RESET or REFUSED, tunnel lost → SO_LINGER 0 and close: the application sees RST
//     both FIN seen and passed on          → close; where FIN to the peer is the last, once it has left
//
// A socket resets on close from its beginning until the peer's FIN is passed on, so that the application
// sees RST even when this process is killed and the kernel closes: nothing it was sent may look complete.

/// The half of a forwarded TCP connection on this machine. Loop thread only.
final class TCPFlow: Flow, FinishingFlow {
    /// How long a dial may take, in milliseconds.
    static let dialTimeout: UInt64 = 9_000

    typealias State = TCPFlowState

    let info: FlowInfo
    let resources: Resources
    private let ended: FlowEnded
    let isDialler: Bool
    var stream: TunnelStream?
    var socket: Socket?
    private var poller: Poller?
    var phase: State.Phase
    var source = State.Source.reading
    private var sink = State.Sink.open
    var pending = PendingBytes()
    var extras = Extras()

    /// An accepted connection; ``start(on:)`` follows.
    init(
        _ resources: Resources, info: FlowInfo, accepted socket: consuming Socket,
        ended: @escaping FlowEnded
    ) {
        self.resources = resources
        self.info = info
        self.ended = ended
        isDialler = false
        phase = .connected
        self.socket = consume socket
    }

    /// A connection to be dialled; ``dial(_:for:)`` follows.
    init(_ resources: Resources, info: FlowInfo, ended: @escaping FlowEnded) {
        self.resources = resources
        self.info = info
        self.ended = ended
        isDialler = true
        phase = .dialling([])
    }

    var state: FlowState { State.summary(phase, source, sink) }

    private var isDialling: Bool { phase.isDialling }
    var isConnected: Bool { phase.isConnected }

    // MARK: Beginning

    /// Joins an accepted connection to its stream.
    ///
    /// Most clients speak first, and by now did: their first bytes then leave at the end of this turn, while
    /// the far side is dialling. Where the server speaks first, this costs one look.
    func start(on stream: TunnelStream) throws(SystemError) {
        self.stream = stream
        try watch()
        _ = stream.markReady()
    }

    /// Dials by the first of `paths` that leads there, for a stream that the peer opened.
    func dial(_ paths: [ClientPath], for stream: TunnelStream) {
        self.stream = stream
        phase = .dialling(paths)
        dialNext()
    }

    private func dialNext() {
        guard case .dialling(let paths) = phase, let path = paths.first else {
            return refuse(.refused)
        }
        phase = .dialling(Array(paths.dropFirst()))
        do {
            var dial = try resources.clients.dialTCP(
                path, for: info.client, of: info.id, now: resources.loop.now)
            socket = dial.takeSocket()
            if let socket = socket?.descriptor, resources.isReserved(socket) {
                return refuseForLimit()
            }
            socket?.resetOnClose()
            // Connected first: interest is then declared once.
            if dial.isConnected { phase = .connected }
            try watch()
            if dial.isConnected { connected() }
        } catch {
            cannotDial(path, error, isLast: paths.count == 1)
        }
    }

    /// A way that could not be tried says nothing of the next, but for a server that answered.
    private func cannotDial(_ path: ClientPath, _ error: SystemError, isLast: Bool) {
        let isOver = error.isRefused || error.isConnectionLost || error.isExhaustion
        if !isLast, !isOver, path.source != .loopback || error.isAddressUnavailable {
            return dialNext()
        }
        // All ports may be in use from which it could be dialled.
        let isOutOfPorts = path.source != .loopback && !isOver
        if error.isExhaustion || isOutOfPorts { refuseForLimit() } else { refuse(.refused) }
    }

    func refuseForLimit() {
        resources.counters.dialsRefused += 1
        refuse(.limit)
    }

    func watch() throws(SystemError) {
        guard let descriptor = socket?.descriptor else { return }
        poller?.close()
        poller = try Poller(loop: resources.loop, descriptor: descriptor) {
            [unowned self] events in
            ready(events)
        }
        updateInterest()
    }

    func connected() {
        info.listenerAnswered()
        phase = .connected
        stream?.acceptOpen()
        drainPending()
        updateInterest()
    }

    // MARK: Readiness

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) { return failed() }
        if isDialling { return connected() }
        if events.contains(.writable) { drainPending() }
        // Before the byte's place is read over.
        if events.contains(.errorsOnly) { urgentOrHungUp() }
        if events.contains(.readable) { readable() }
    }

    private func readable() {
        guard isConnected, let stream else { return }
        switch stream.markReady() {
        case .queued, .closed: break
        case .waiting:
            if source == .reading { source = .paused }
            updateInterest()
        }
    }

    /// Urgent data arrived, or the connection is dead, or both directions have ended.
    ///
    /// The byte is taken out of band at once: level-triggered epoll would report it forever. Its place stays marked in the
    /// kernel, where reads stop (RFC 6093, tcp(7)). A later urgent byte takes the mark away, and the kernel then
    /// leaves the earlier one among the ordinary bytes.
    private func urgentOrHungUp() {
        if let byte = socket?.takeUrgentByte() {
            // A peer that cannot carry it goes without, as a reader that does not ask for it.
            if stream?.peerUnderstands(.urgent) == true { extras.urgent = byte }
            // It may be at its place already, with nothing to read.
            if extras.urgent != nil { _ = stream?.markReady() }
            return
        }
        // A reset that comes with such a byte is not told apart from it.
        if socket?.takeError("recv") != nil { return connectionLost() }
        if source != .reading { poller?.watch(.nothing) }
    }

    /// EPOLLERR: the connection was reset, or the dial failed.
    private func failed() {
        let error = socket?.takeError("connect")
        if isDialling {
            guard let error else { return updateInterest() }
            if error.isAddressUnavailable { return dialNext() }
            guard error.isConnectionLost else { return refuse(error.isRefused ? .refused : .other) }
            // It was connected, and reset before we looked.
            connected()
        }
        guard error != nil else { return updateInterest() }
        connectionLost()
    }

    private func updateInterest() {
        poller?.watch(State.interest(phase, source, hasPending: !pending.isEmpty))
    }

    // MARK: Application → tunnel

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        guard isConnected, source != .ended, socket != nil else { return .nothing }
        if let fill = fillExtra(buffer, limit: limit) { return fill }
        let count: Int?
        do {
            count = try socket?.read(into: buffer, limit: limit)
        } catch {
            // The scheduler sends RESET; the connection is dead already.
            close(resetting: true)
            return .failed(.reset)
        }
        if source == .lost { return fillFromLost(count ?? 0) }
        guard let count else { return drained(.nothing) }
        if count == 0 {
            source = .ended
            if sink == .shut { resources.done.append(self) } else { updateInterest() }
            return .end
        }
        info.count(count, towardsListener: !isDialler, now: resources.loop.now)
        // A read stops in front of the mark of an urgent byte.
        if count == limit || extras.urgent != nil { return .bytes(count, more: true) }
        return drained(.bytes(count, more: false))
    }

    /// A dead connection's turn: what had arrived before it died, and then the reset.
    private func fillFromLost(_ count: Int) -> Fill {
        guard count > 0 else {
            close(resetting: true)
            return .failed(.reset)
        }
        info.count(count, towardsListener: !isDialler, now: resources.loop.now)
        return .bytes(count, more: true)
    }

    /// The socket has nothing more for now: watch it again.
    private func drained(_ fill: Fill) -> Fill {
        if source == .paused {
            source = .reading
            updateInterest()
        }
        return fill
    }

    // MARK: Tunnel → application

    func received(_ bytes: Span<UInt8>) {
        switch phase {
        case .closed: return
        case .dialling: return pending.append(bytes)
        case .connected where source == .lost: return
        case .connected: break
        }
        var taken = 0
        if pending.isEmpty {
            guard let count = write(bytes) else { return }
            taken = count
        }
        if taken < bytes.count {
            pending.append(bytes.extracting(taken..<bytes.count))
            updateInterest()
        }
        delivered(taken)
    }

    /// Writes to the application.
    ///
    /// - Returns: How much it took, nil when the connection is dead (and the flow ended).
    private func write(_ bytes: Span<UInt8>) -> Int? {
        do {
            return try socket?.write(bytes) ?? 0
        } catch {
            connectionLost()
            return nil
        }
    }

    func drainPending() {
        guard isConnected, source != .lost, socket != nil else { return }
        if !pending.isEmpty {
            do {
                let taken = try pending.drain { (bytes, isUrgent) throws(SystemError) in
                    guard isUrgent else { return try socket?.write(bytes) }
                    return try socket?.writeUrgent(bytes[0]) == true ? 1 : nil
                }
                delivered(taken)
            } catch {
                return connectionLost()
            }
        }
        if pending.isEmpty, sink == .ending { shutWrite() }
        updateInterest()
    }

    private func delivered(_ count: Int) {
        guard count > 0 else { return }
        info.count(count, towardsListener: isDialler, now: resources.loop.now)
        stream?.consumed(count)
    }

    // MARK: Ends

    func receivedEnd() {
        if sink == .open { sink = .ending }
        guard isConnected, source != .lost, pending.isEmpty else { return }
        shutWrite()
        updateInterest()
    }

    private func shutWrite() {
        guard sink != .shut else { return }
        sink = .shut
        socket?.finishOnClose()
        do {
            try socket?.shutdownWrite()
        } catch {
            // ENOTCONN: the application reset the connection meanwhile; reading will tell.
        }
        if isDone, isConnected { close(resetting: false) }
    }

    /// Whether both directions have ended.
    private var isDone: Bool { source == .ended && sink == .shut }

    func finish() { close(resetting: false) }

    func streamEnded(_ code: ResetCode) {
        noteOutcome(code)
        close(resetting: true)
    }

    func abort(_ code: ResetCode) {
        if code == .timedOut { noteOutcome(code) }
        stream?.reset(code)
        close(resetting: true)
    }

    func refuse(_ code: ResetCode) {
        noteOutcome(code)
        stream?.refuse(code)
        close(resetting: false)
    }

    /// The application's connection is dead. The kernel still has what came before the reset (an early
    /// answer to a request that was not read to its end): the scheduler's next turns take it. When the peer's
    /// reader has paused, the reset is passed on at once instead.
    private func connectionLost() {
        guard isConnected, source != .lost else { return }
        let hadEnded = source == .ended
        source = .lost
        pending = PendingBytes()
        updateInterest()
        guard !hadEnded, let stream, stream.markReady() != .closed, !stream.awaitsCredit
        else { return abort(.reset) }
    }

    private func close(resetting: Bool) {
        guard phase != .closed else { return }
        noteOutcome(nil)
        phase = .closed
        if resetting, !isDone { socket?.resetOnClose() }
        poller?.close()
        poller = nil
        socket = nil
        if isDialler { resources.clients.release(info.id, now: resources.loop.now) }
        stream?.attach(nil)
        stream = nil
        ended(self)
    }
}
