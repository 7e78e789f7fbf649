package import TwinportModel
package import Wire

// Streams: opening, ending, credit. See docs/protocol.md, "Streams".

extension Session: StreamOwner {
    /// Opens a stream to one of the peer's listeners. OPEN, and the first bytes after it, leave with the
    /// next pump.
    ///
    /// - Returns: The stream, nil when there are too many.
    package func open(
        _ listener: ListenerID, _ transport: TransportProtocol, client: Endpoint,
        dialled: Endpoint, handler: any StreamHandler
    ) -> TunnelStream? {
        guard !isEnded, let peer, streams.opened.count < Int(peer.maxStreams),
            let id = streams.opened.nextID()
        else { return nil }
        // Datagrams need no credit.
        let isOffered = transport == .tcp
        let window = isOffered ? offerWindow() : hello.initialWindow
        let message = OpenMessage(
            listener: listener, transport: transport, window: window, client: client,
            dialled: dialled)
        let stream = TunnelStream(
            id: id, owner: self, isLocal: true, open: message,
            sendLimit: UInt64(peer.initialWindow),
            window: ReceiveWindow(initial: window, isOffered: isOffered, now: clock()))
        stream.handler = handler
        guard streams.opened.insert(stream) else {
            stream.window.release(&memory.budget)
            return nil
        }
        queue(.open, on: stream, isHurried: true)
        return stream
    }

    private func offerWindow() -> UInt32 {
        var budget = memory.budget
        defer { memory.budget = budget }
        return budget.offer()
    }

    var peerFeatures: Features { peer?.features ?? [] }

    /// The table a number belongs to.
    func lookup(_ id: StreamID) -> TunnelStream? {
        isOurs(id) ? streams.opened.lookup(id) : streams.accepted.lookup(id)
    }

    func isOurs(_ id: StreamID) -> Bool {
        id.isGuestOpened == (hello.role == .guest)
    }

    /// Marks a control frame as due on `stream`.
    ///
    /// - Parameter isHurried: False if the peer does not wait for the frame. It then leaves with the next write, or
    ///   after the next tick (500 ms), and no wake-up of the peer is spent on it.
    func queue(_ control: StreamControl.Frames, on stream: TunnelStream, isHurried: Bool) {
        guard !isEnded else { return }
        scheduler.add(control, of: stream, isHurried: isHurried)
    }

    /// Queues REFUSED or RESET as our last frame, unless RESET was queued before. Drops the handler without calling it:
    /// the handler made this call, or the caller calls `streamEnded(_:)`.
    func end(_ stream: TunnelStream, with control: StreamControl.Frames, _ code: ResetCode) {
        stream.handler = nil
        stream.window.release(&memory.budget)
        guard stream.state.registration == .numbered else { return forget(stream) }
        guard !isEnded, stream.state.sendReset() else { return }
        stream.control.code = code
        // If OPEN has not left yet, it leaves before RESET, so that both tables record this use of the number.
        stream.control.frames.subtract([.window, .moved, .keepAlive])
        queue(control, on: stream, isHurried: true)
    }

    /// Frees the stream once both terminals were seen and ours has left.
    func closeIfDone(_ stream: TunnelStream) {
        guard stream.state.isOver,
            stream.control.frames.isDisjoint(with: [.reset, .refused, .open])
        else { return }
        if stream.state.isLocal {
            streams.opened.remove(stream)
        } else {
            streams.accepted.remove(stream)
        }
        stream.window.retire(&memory.budget)
        guard stream.handler != nil, stream.window.held > 0 else { return forget(stream) }
        stream.state.drain()
        streams.draining[ObjectIdentifier(stream)] = stream
        guard streams.draining.count > streams.maxDraining else { return }
        let stalled = streams.draining.values.min {
            $0.window.lastConsumed < $1.window.lastConsumed
        }
        if let stalled { dropForMemory(stalled) }
    }

    /// Lets go of a stream that has no number any more.
    private func forget(_ stream: TunnelStream) {
        stream.state.forget()
        stream.window.release(&memory.budget)
        streams.draining[ObjectIdentifier(stream)] = nil
    }

    /// Ends a stream for what the peer or its application does to us.
    func drop(_ stream: TunnelStream, _ handler: any StreamHandler, _ code: ResetCode) {
        stream.reset(code)
        handler.streamEnded(code)
    }

    /// Resets the streams that hold the most bytes, if all together hold more than ``ReceiveBudget/maxHeld``. It does not
    /// single out the stream that crossed the limit: a large holder has used up its credit and sends nothing more, so it
    /// would never be the one. It frees 1/64 more than necessary, so that a peer cannot force a sort of all streams for
    /// every frame.
    func keepWithinBudget() {
        guard memory.budget.held > ReceiveBudget.maxHeld else { return }
        let enough = ReceiveBudget.maxHeld - ReceiveBudget.maxHeld / 64
        let holders = (streams.numbered + streams.draining.values).filter { $0.handler != nil }
        for stream in holders.sorted(by: { $0.window.held > $1.window.held }) {
            guard memory.budget.held > enough else { return }
            dropForMemory(stream)
        }
    }

    private func dropForMemory(_ stream: TunnelStream) {
        guard let handler = stream.handler else { return }
        memory.streamsOverBudget += 1
        drop(stream, handler, .limit)
    }

    /// Counts bytes the kernel accepted, and grants more when it is worth a frame.
    func returnCredit(_ stream: TunnelStream, _ count: Int) {
        guard !isEnded, stream.handler != nil else { return }
        var window = stream.window
        var budget = memory.budget
        let limit = window.consume(count, &budget, now: clock())
        stream.window = window
        memory.budget = budget
        if stream.state.registration == .draining, stream.window.held == 0 {
            return forget(stream)
        }
        guard let limit, stream.state.theirs == .open else { return }
        stream.control.window = limit
        queue(.window, on: stream, isHurried: true)
    }
}
