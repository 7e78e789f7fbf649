public import Addresses
public import Wire

// Streams: opening, ending, credit. See docs/protocol.md, "Streams".

extension Session {
    /// Opens a stream to one of the peer's listeners. OPEN, and the first bytes after it, leave with the
    /// next pump.
    ///
    /// - Returns: The stream, nil when there are too many.
    public func open(
        _ listener: ListenerID, _ transport: TransportProtocol, client: Endpoint,
        dialled: Endpoint, handler: any StreamHandler
    ) -> TunnelStream? {
        guard !isEnded, let peer, opened.count < Int(peer.maxStreams), let id = opened.nextID()
        else { return nil }
        // Datagrams need no credit.
        let isOffered = transport == .tcp
        let window = isOffered ? budget.offer() : hello.initialWindow
        let message = OpenMessage(
            listener: listener, transport: transport, window: window, client: client,
            dialled: dialled)
        let stream = TunnelStream(
            id: id, session: self, isLocal: true, open: message,
            sendLimit: UInt64(peer.initialWindow),
            window: ReceiveWindow(initial: window, isOffered: isOffered, now: clock()))
        stream.handler = handler
        guard opened.insert(stream) else {
            stream.window.release(&budget)
            return nil
        }
        queue(.open, on: stream)
        return stream
    }

    /// The table a number belongs to.
    func lookup(_ id: StreamID) -> TunnelStream? {
        isOurs(id) ? opened.lookup(id) : accepted.lookup(id)
    }

    func isOurs(_ id: StreamID) -> Bool {
        id.isGuestOpened == (hello.role == .guest)
    }

    /// Marks a control frame as due on `stream`.
    ///
    /// - Parameter isHurried: False for what the peer does not wait for: it leaves with whatever leaves next,
    ///   within half a second, and no wake-up of the peer is spent on it.
    func queue(
        _ control: TunnelStream.PendingControl, on stream: TunnelStream, isHurried: Bool = true
    ) {
        guard !isEnded else { return }
        stream.pending.insert(control)
        if isHurried { waiting.isControlDue = true }
        guard !stream.isControlQueued else { return }
        stream.isControlQueued = true
        waiting.control.append(stream)
    }

    /// Sends REFUSED or RESET as our last frame, unless a reset was sent already. The handler is let go:
    /// whoever ends a stream knows.
    func end(
        _ stream: TunnelStream, with control: TunnelStream.PendingControl, _ code: ResetCode
    ) {
        stream.handler = nil
        stream.window.release(&budget)
        guard stream.phase == .numbered else { return forget(stream) }
        guard !isEnded, !stream.sentReset else { return }
        stream.sentReset = true
        stream.sentTerminal = true
        stream.pendingCode = code
        // A stream whose OPEN never left still says OPEN, then RESET: the peer may have our first frame
        // of it in flight, and both tables stay in step.
        stream.pending.remove(.window)
        queue(control, on: stream)
    }

    /// Frees the stream once both terminals were seen and ours has left.
    func closeIfDone(_ stream: TunnelStream) {
        guard stream.sentTerminal, stream.receivedTerminal,
            stream.pending.isDisjoint(with: [.reset, .refused, .open])
        else { return }
        if stream.isLocal { opened.remove(stream) } else { accepted.remove(stream) }
        stream.window.retire(&budget)
        guard stream.handler != nil, stream.window.held > 0 else { return forget(stream) }
        stream.phase = .draining
        draining[ObjectIdentifier(stream)] = stream
        guard draining.count > maxDraining else { return }
        let stalled = draining.values.min { $0.window.lastConsumed < $1.window.lastConsumed }
        if let stalled { dropForMemory(stalled) }
    }

    /// Lets go of a stream that has no number any more.
    private func forget(_ stream: TunnelStream) {
        stream.phase = .over
        stream.window.release(&budget)
        draining[ObjectIdentifier(stream)] = nil
    }

    /// Ends a stream for what the peer or its application does to us.
    func drop(_ stream: TunnelStream, _ handler: any StreamHandler, _ code: ResetCode) {
        stream.reset(code)
        handler.streamEnded(code)
    }

    /// Resets those that hold most, when all together hold too much. Not the one whose bytes went past the limit:
    /// those who hold much have used up their credit and send no more, and everybody else would pay. A little
    /// more than necessary, so that a peer cannot have all streams looked through for every frame.
    func keepWithinBudget() {
        guard budget.held > ReceiveBudget.maxHeld else { return }
        let enough = ReceiveBudget.maxHeld - ReceiveBudget.maxHeld / 64
        let holders = (opened.all + accepted.all + draining.values).filter { $0.handler != nil }
        for stream in holders.sorted(by: { $0.window.held > $1.window.held }) {
            guard budget.held > enough else { return }
            dropForMemory(stream)
        }
    }

    private func dropForMemory(_ stream: TunnelStream) {
        guard let handler = stream.handler else { return }
        streamsOverBudget += 1
        drop(stream, handler, .limit)
    }

    /// Counts bytes the kernel accepted, and grants more when it is worth a frame.
    func returnCredit(_ stream: TunnelStream, _ count: Int) {
        guard !isEnded, stream.handler != nil else { return }
        let limit = stream.window.consume(count, &budget, now: clock())
        if stream.phase == .draining, stream.window.held == 0 { return forget(stream) }
        guard let limit, !stream.receivedTerminal else { return }
        stream.pendingWindow = limit
        queue(.window, on: stream)
    }
}
