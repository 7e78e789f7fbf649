internal import Addresses
internal import DequeModule
internal import Posix
internal import Sockets
internal import Wire

// Sending: what leaves, in which order, in how many system calls.
//
//     1 urgent frames of the session    2 control frames of streams    3 listeners and mirrors
//     4 DATA, DATAGRAM and FIN, streams in turn
//
// All of it is laid into the outbox, which holds at most one turn's worth, and leaves in one write. The
// outbox is refilled only when it is empty: what has not been framed yet can still be overtaken by
// control, and by a stream that was idle.

extension Session {
    /// How many times a pump refills the outbox before it lets the loop look at other sockets.
    private static let rounds = 4
    /// The largest control frame, with its header.
    private static let controlRoom = 4_096 + FrameHeader.size

    /// Takes note that a stream has something to send.
    func markReady(_ stream: TunnelStream) -> TunnelStream.Readiness {
        guard !isEnded, stream.handler != nil, !stream.sentTerminal else { return .closed }
        guard !stream.isReady, !stream.isBlocked else { return .waiting }
        if stream.transport == .tcp, stream.sent >= stream.sendLimit {
            stream.isBlocked = true
            return .waiting
        }
        stream.isReady = true
        waiting.newlyReady.append(stream)
        return .queued
    }

    /// Sends what there is, as far as the link takes it. Called at the end of each loop turn, and when
    /// the link takes bytes again.
    public func pump() {
        guard !isEnded else { return }
        do {
            for _ in 0..<Self.rounds {
                if !outbox.isEmpty, try !flush() { return link.watchWritable(true) }
                fillOutbox()
                // A flow may have ended the session inside its turn.
                guard !isEnded else { return }
                if outbox.isEmpty { return link.watchWritable(false) }
            }
            if !outbox.isEmpty { _ = try flush() }
            link.watchWritable(!outbox.isEmpty || waiting.isControlDue || waiting.hasData)
        } catch {
            end(SessionEnd(.other, "the tunnel broke while writing: \(error)"))
        }
    }

    private func fillOutbox() {
        guard waiting.hasControl || waiting.hasData else { return }
        if waiting.hasControl || !waiting.control.isEmpty { fillControl() }
        if waiting.hasData, waiting.control.isEmpty { fillData() }
    }

    /// Writes the outbox.
    ///
    /// - Returns: Whether all of it left.
    private func flush() throws(SystemError) -> Bool {
        while !outbox.isEmpty {
            let link = self.link
            let written = try outbox.withReadable { (bytes) throws(SystemError) in
                try link.write(bytes)
            }
            guard let written else { return false }
            outbox.consume(written)
            liveness.took(now: clock())
        }
        return true
    }

    /// Writes GOAWAY, as far as the link takes it right now.
    func sayGoodbye(_ end: SessionEnd) {
        writer.clear()
        Frames.writeGoAway(end.code, end.reason, to: &writer)
        // Inside a flow's turn: its frame is not one yet.
        if let turnStart { outbox.truncate(to: turnStart) }
        outbox.compact()
        guard outbox.space >= writer.bytes.count else { return }
        outbox.append(writer.bytes)
        // The link may be what broke; the peer then finds out by itself.
        _ = try? flush()
    }

    // MARK: Control

    private func fillControl() {
        waiting.forgetEnded(streams: streamCount)
        if !waiting.urgent.isEmpty { writeUrgent() }
        while outbox.space >= Self.controlRoom, let stream = waiting.nextControl() {
            writeControl(of: stream)
            takeWritten()
        }
        guard isGreeted else { return }
        if waiting.isDelegateDue { askDelegate() }
        if let epoch = waiting.urgent.sync {
            waiting.urgent.sync = nil
            Frames.writeNumber(.sync, epoch, to: &writer)
            takeWritten()
        }
    }

    /// Moves what was written to the outbox.
    private func takeWritten() {
        outbox.append(writer.bytes)
        writer.clear()
    }

    private func writeUrgent() {
        var urgent = waiting.urgent
        if urgent.hello { hello.write(to: &writer) }
        urgent.hello = false
        if let number = urgent.pong { Frames.writeNumber(.pong, number, to: &writer) }
        urgent.pong = nil
        if let number = urgent.ping { Frames.writeNumber(.ping, number, to: &writer) }
        urgent.ping = nil
        if let policy = urgent.policy, isGreeted {
            policy.write(to: &writer)
            urgent.policy = nil
        }
        waiting.urgent = urgent
        takeWritten()
    }

    private func askDelegate() {
        guard let delegate else { return waiting.isDelegateDue = false }
        while outbox.space >= Self.controlRoom {
            switch delegate.session(self, writeControl: &writer) {
            case .wrote: takeWritten()
            case .later: return
            case .nothing: return waiting.isDelegateDue = false
            }
        }
    }

    private func writeControl(of stream: TunnelStream) {
        let pending = stream.pending
        stream.pending = []
        stream.isControlQueued = false
        if pending.contains(.open) { stream.open.write(to: &writer, stream: stream.id) }
        if pending.contains(.opened) {
            Frames.writeOpened(stream.id, window: hello.initialWindow, to: &writer)
        }
        if pending.contains(.window) {
            Frames.writeWindow(stream.id, offset: stream.pendingWindow, to: &writer)
        }
        if pending.contains(.refused) {
            Frames.writeEnd(.refused, stream.id, stream.pendingCode, to: &writer)
        }
        if pending.contains(.reset) {
            Frames.writeEnd(.reset, stream.id, stream.pendingCode, to: &writer)
        }
        closeIfDone(stream)
    }

    // MARK: Data

    private func fillData() {
        while !isEnded, outbox.count < FrameHeader.maxData, let stream = waiting.nextReady() {
            stream.isReady = false
            guard let handler = stream.handler, !stream.sentTerminal else { continue }
            guard let limit = turn(of: stream) else { continue }
            let start = outbox.mark
            outbox.append(UInt64(0))
            turnStart = start
            let fill = handler.fill(outbox, limit: limit)
            turnStart = nil
            if !isEnded { settle(stream, fill, headerAt: start) }
        }
    }

    /// How many bytes a stream may send now; nil, and out of the queues, without credit.
    private func turn(of stream: TunnelStream) -> Int? {
        let room = outbox.space - 2 * FrameHeader.size
        guard stream.transport == .tcp else { return room }
        let credit = stream.sendLimit - stream.sent
        guard credit > 0 else {
            stream.isBlocked = true
            return nil
        }
        return min(room, Int(min(credit, UInt64(FrameHeader.maxData))))
    }

    /// Completes the frame that a flow filled, or takes its header back.
    private func settle(_ stream: TunnelStream, _ fill: Fill, headerAt start: Int) {
        switch fill {
        case .bytes(let count, let more):
            let type: FrameType = stream.transport == .tcp ? .data : .datagram
            let header = FrameHeader(type, length: count, stream: stream.id.rawValue)
            outbox.patch(header.packed, at: start)
            stream.sent += UInt64(count)
            // The flow may have marked itself ready, or ended, inside its turn.
            if more, !stream.isReady, stream.handler != nil { enqueueAgain(stream) }
        case .noRoom:
            outbox.truncate(to: start)
            stream.isReady = true
            waiting.newlyReady.prepend(stream)
        case .nothing:
            outbox.truncate(to: start)
        case .end:
            outbox.truncate(to: start)
            sendFin(on: stream)
        case .failed(let code):
            outbox.truncate(to: start)
            stream.reset(code)
        }
    }

    private func enqueueAgain(_ stream: TunnelStream) {
        if stream.transport == .tcp, stream.sent >= stream.sendLimit {
            stream.isBlocked = true
            return
        }
        stream.isReady = true
        waiting.ready.append(stream)
    }

    private func sendFin(on stream: TunnelStream) {
        stream.sentTerminal = true
        Frames.writeFin(stream.id, to: &writer)
        takeWritten()
        closeIfDone(stream)
    }
}
