internal import Addresses
internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
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
//     both FIN seen and passed on          → close
//
// A socket resets on close from its beginning until the peer's FIN is passed on, so that the application
// sees RST even when this process is killed and the kernel closes: nothing it was sent may look complete.

/// The half of a forwarded TCP connection on this machine. Loop thread only.
final class TCPFlow: Flow {
    /// How long a dial may take.
    static let dialTimeout: UInt64 = 10_000

    private enum Phase {
        case dialling
        case connected
        case closed
    }

    let info: FlowInfo
    private let isDialler: Bool
    private unowned let side: Side
    private var stream: TunnelStream?
    private var socket: Socket?
    private var poller: Poller?
    private var phase: Phase
    private var pending = PendingBytes()
    /// The application sent FIN.
    private var applicationEnded = false
    /// The peer sent FIN, and whether the application was told.
    private var peerEnded = false
    private var isWriteShut = false
    /// The application's connection is dead; what it sent before is being handed on.
    private var isLost = false
    /// Reading is paused; see the theory of operation.
    private var isPaused = false
    private var remainingTargets: [Endpoint] = []

    /// An accepted connection; ``start(on:)`` follows.
    init(side: Side, info: FlowInfo, accepted socket: consuming Socket) {
        self.side = side
        self.info = info
        isDialler = false
        phase = .connected
        self.socket = consume socket
    }

    /// A connection to be dialled; ``dial(_:for:)`` follows.
    init(side: Side, info: FlowInfo) {
        self.side = side
        self.info = info
        isDialler = true
        phase = .dialling
    }

    var stateName: String {
        switch phase {
        case .dialling: "dialling"
        case .closed: "closed"
        case .connected:
            applicationEnded || peerEnded ? "half-closed" : "open"
        }
    }

    // MARK: Beginning

    /// Joins an accepted connection to its stream.
    ///
    /// Most clients speak first, and by now did: their first bytes then leave at the end of this turn, while
    /// the far side is dialling. Where the server speaks first, this costs one look.
    func start(on stream: TunnelStream) throws(LoopError) {
        self.stream = stream
        try watch()
        _ = stream.markReady()
    }

    /// Dials the first of `targets` that can be reached, for a stream that the peer opened.
    func dial(_ targets: [Endpoint], for stream: TunnelStream) {
        self.stream = stream
        remainingTargets = targets
        dialNext()
    }

    private func dialNext() {
        guard let target = remainingTargets.first else { return refuse(.refused) }
        remainingTargets.removeFirst()
        do {
            var dial = try Socket.dialTCP(target)
            socket = dial.takeSocket()
            if let socket = socket?.descriptor, side.isReserved(socket) { return refuseForLimit() }
            socket?.resetOnClose()
            // Connected first: interest is then declared once.
            if dial.isConnected { phase = .connected }
            try watch()
            if dial.isConnected { connected() }
        } catch let error as SystemError where error.isAddressUnavailable {
            dialNext()
        } catch let error as SystemError {
            if error.isExhaustion { refuseForLimit() } else { refuse(.refused) }
        } catch {
            refuseForLimit()
        }
    }

    private func refuseForLimit() {
        side.counters.dialsRefused += 1
        refuse(.limit)
    }

    private func watch() throws(LoopError) {
        guard let descriptor = socket?.descriptor else { return }
        poller?.close()
        poller = try Poller(loop: side.loop, descriptor: descriptor) { [unowned self] events in
            ready(events)
        }
        updateInterest()
    }

    private func connected() {
        phase = .connected
        remainingTargets = []
        stream?.acceptOpen()
        drainPending()
        updateInterest()
    }

    // MARK: Readiness

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) { return failed() }
        if phase == .dialling { return connected() }
        if events.contains(.writable) { drainPending() }
        if events.contains(.readable) { readable() }
        if events == .errorsOnly { hungUp() }
    }

    private func readable() {
        guard phase == .connected, let stream else { return }
        switch stream.markReady() {
        case .queued, .closed: break
        case .waiting:
            isPaused = true
            updateInterest()
        }
    }

    /// A paused socket reports urgent data, which is not ours to carry, or that both directions have ended.
    /// Either would be reported without end.
    private func hungUp() {
        if socket?.discardUrgentByte() == true { return }
        // A reset that comes with such a byte is not told apart from it.
        if socket?.takeError("recv") != nil { return connectionLost() }
        poller?.watch([])
    }

    /// EPOLLERR: the connection was reset, or the dial failed.
    private func failed() {
        let error = socket?.takeError("connect")
        if phase == .dialling {
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
        guard let poller else { return }
        var interest: Poller.Events = []
        switch phase {
        case .dialling: interest = .writable
        case .connected where isLost: break
        case .connected:
            if !isPaused, !applicationEnded { interest.insert(.readable) }
            if !pending.isEmpty { interest.insert(.writable) }
            if interest.isEmpty { interest = .errorsOnly }
        case .closed: break
        }
        poller.watch(interest)
    }

    // MARK: Application → tunnel

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        guard phase == .connected, !applicationEnded, socket != nil else { return .nothing }
        let count: Int?
        do {
            count = try socket?.read(into: buffer, limit: limit)
        } catch {
            // The scheduler sends RESET; the connection is dead already.
            close(resetting: true)
            return .failed(.reset)
        }
        if isLost { return fillFromLost(count ?? 0) }
        guard let count else { return drained(.nothing) }
        if count == 0 {
            applicationEnded = true
            finishIfDone(besidesFin: true)
            updateInterest()
            return .end
        }
        info.count(count, towardsListener: !isDialler, now: side.loop.now)
        return count < limit ? drained(.bytes(count, more: false)) : .bytes(count, more: true)
    }

    /// A dead connection's turn: what had arrived before it died, and then the reset.
    private func fillFromLost(_ count: Int) -> Fill {
        guard count > 0 else {
            close(resetting: true)
            return .failed(.reset)
        }
        info.count(count, towardsListener: !isDialler, now: side.loop.now)
        return .bytes(count, more: true)
    }

    /// The socket has nothing more for now: watch it again.
    private func drained(_ fill: Fill) -> Fill {
        if isPaused {
            isPaused = false
            updateInterest()
        }
        return fill
    }

    // MARK: Tunnel → application

    func received(_ bytes: Span<UInt8>) {
        switch phase {
        case .closed: return
        case .dialling: return pending.append(bytes)
        case .connected where isLost: return
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

    private func drainPending() {
        guard phase == .connected, !isLost, socket != nil else { return }
        if !pending.isEmpty {
            do {
                let taken = try pending.drain { (bytes) throws(SystemError) in
                    try socket?.write(bytes)
                }
                delivered(taken)
            } catch {
                return connectionLost()
            }
        }
        if pending.isEmpty, peerEnded { shutWrite() }
        updateInterest()
    }

    private func delivered(_ count: Int) {
        guard count > 0 else { return }
        info.count(count, towardsListener: isDialler, now: side.loop.now)
        stream?.consumed(count)
    }

    // MARK: Ends

    func streamOpened() {}

    func receivedEnd() {
        peerEnded = true
        guard phase == .connected, !isLost, pending.isEmpty else { return }
        shutWrite()
        updateInterest()
    }

    private func shutWrite() {
        guard !isWriteShut else { return }
        isWriteShut = true
        socket?.finishOnClose()
        do {
            try socket?.shutdownWrite()
        } catch {
            // ENOTCONN: the application reset the connection meanwhile; reading will tell.
        }
        finishIfDone(besidesFin: false)
    }

    /// Closes when both directions have ended.
    ///
    /// - Parameter besidesFin: The scheduler is about to send our FIN: keep the stream until it did.
    private func finishIfDone(besidesFin: Bool) {
        guard applicationEnded, isWriteShut, phase == .connected else { return }
        close(resetting: false, keepingStream: besidesFin)
    }

    func streamEnded(_ code: ResetCode) {
        close(resetting: true)
    }

    func abort(_ code: ResetCode) {
        stream?.reset(code)
        close(resetting: true)
    }

    private func refuse(_ code: ResetCode) {
        stream?.refuse(code)
        close(resetting: false)
    }

    /// The application's connection is dead. The kernel still has what came before the reset (an early
    /// answer to a request that was not read to its end): the scheduler's next turns take it. A reader who
    /// pauses is told of the reset at once instead.
    private func connectionLost() {
        guard phase == .connected, !isLost else { return }
        isLost = true
        pending = PendingBytes()
        updateInterest()
        guard !applicationEnded, let stream, stream.markReady() != .closed, !stream.awaitsCredit
        else { return abort(.reset) }
    }

    func sweep(now: UInt64) {
        if phase == .dialling, now >= info.started + Self.dialTimeout { refuse(.timedOut) }
        if isLost, stream?.awaitsCredit == true { abort(.reset) }
    }

    private func close(resetting: Bool, keepingStream: Bool = false) {
        guard phase != .closed else { return }
        phase = .closed
        if resetting { socket?.resetOnClose() }
        poller?.close()
        poller = nil
        socket = nil
        if !keepingStream { stream?.handler = nil }
        stream = nil
        side.flows.remove(self)
    }
}
