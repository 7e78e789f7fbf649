internal import Sockets
internal import TwinportModel
internal import Wire

// Sending: what leaves, in which order, in how many system calls.
//
//     1 urgent frames of the session    2 control frames of streams    3 listeners and mirrors
//     4 DATA, DATAGRAM and FIN, streams in turn    5 listeners that are gone
//
// All of it is laid into the outbox, which holds at most one turn's worth, and leaves in one write. The
// outbox is refilled only when it is empty: what has not been framed yet can still be overtaken by
// control, and by a stream that was idle.
//
// Before the outbox leaves, the gate is asked (`SendGate`): bytes that were read may tell of a listener that the
// delegate does not know yet. While the gate holds them nothing is framed. When it opens, the frames about such
// listeners go first, from a buffer of their own.

extension Session {
    /// How many times a pump refills the outbox before it lets the loop look at other sockets.
    private static let rounds = 4
    /// How many datagrams of one flow, or bytes of them, leave before another flow's: several, so that they arrive one
    /// right behind the other and the peer can hand them on with one call.
    private static let datagramsPerTurn = 32
    private static let datagramBytesPerTurn = 64 << 10
    /// The largest control frame, with its header.
    private static let controlRoom = 4_096 + FrameHeader.size

    /// Schedules a stream that has something to send.
    func markReady(_ stream: TunnelStream) -> TunnelStream.Readiness {
        guard !isEnded, stream.handler != nil, stream.state.maySend else { return .closed }
        return scheduler.addNew(stream) ? .queued : .waiting
    }

    /// Sends what there is, as far as the link takes it. Called at the end of each loop turn, and when
    /// the link takes bytes again.
    package func pump() {
        guard !isEnded else { return }
        do {
            for _ in 0..<Self.rounds {
                if !outbox.isEmpty {
                    guard try clearOutbox() else { return }
                    if try !flush() { return link.watchWritable(true) }
                }
                fillOutbox()
                // A flow may have ended the session inside its turn.
                guard !isEnded else { return }
                if outbox.isEmpty { return link.watchWritable(false) }
            }
            if !outbox.isEmpty {
                guard try clearOutbox() else { return }
                _ = try flush()
            }
            link.watchWritable(!outbox.isEmpty || scheduler.wantsLink)
        } catch {
            end(SessionEnd(.other, "the tunnel broke while writing: \(error)"))
        }
    }

    private func fillOutbox() {
        guard scheduler.hasControl || scheduler.hasData else { return }
        outgoing.outbox = .unchecked
        outgoing.hasData = false
        if scheduler.hasControl || scheduler.hasStreamControl || scheduler.urgent.taken != nil {
            fillControl()
        }
        if scheduler.hasData, !scheduler.hasStreamControl { fillData() }
        if !isEnded, hasReceivedHello { askDelegate(for: outbox, withWithdrawals: true) }
    }

    /// Asks the gate about the outbox, and sends what has to go before it.
    ///
    /// - Returns: Whether the outbox may leave. If not, the gate holds it, or the link is full and is watched.
    private func clearOutbox() throws(LinkError) -> Bool {
        if outgoing.outbox == .cleared || !outgoing.hasData { return true }
        if outgoing.outbox == .unchecked, let gate = delegates.gate {
            switch gate.check() {
            case .open: break
            case .held:
                link.watchWritable(false)
                return false
            case .openedWithNews: outgoing.outbox = .afterNews
            }
        }
        if outgoing.outbox == .afterNews, try !sendNews() {
            link.watchWritable(true)
            return false
        }
        outgoing.outbox = .cleared
        return true
    }

    /// Sends the delegate's frames, as many as there are and may be sent now.
    ///
    /// - Returns: Whether all of them left.
    private func sendNews() throws(LinkError) -> Bool {
        repeat {
            guard try flush(news) else { return false }
            askDelegate(for: news, withWithdrawals: false)
        } while !news.isEmpty
        return true
    }

    /// Writes the outbox.
    ///
    /// - Returns: Whether all of it left.
    private func flush() throws(LinkError) -> Bool {
        guard try flush(news) else { return false }
        return try flush(outbox)
    }

    private func flush(_ buffer: IOBuffer) throws(LinkError) -> Bool {
        while !buffer.isEmpty {
            let link = self.link
            let written = try buffer.withReadable { (bytes) throws(LinkError) in
                try link.write(bytes)
            }
            guard let written else { return false }
            buffer.consume(written)
            incoming.liveness.took(now: clock())
        }
        return true
    }

    /// Writes GOAWAY, as far as the link takes it right now.
    func sayGoodbye(_ end: SessionEnd) {
        writer.clear()
        Frames.writeGoAway(end.code, end.reason, to: &writer)
        // Inside a flow's turn: its frame is not one yet.
        if let turnStart = outgoing.turnStart { outbox.truncate(to: turnStart) }
        outbox.compact()
        guard outbox.space >= writer.bytes.count else { return }
        outbox.append(writer.bytes)
        // The link may be what broke; the peer then finds out by itself.
        _ = try? flush()
    }

    // MARK: Control

    private func fillControl() {
        scheduler.forgetEnded(streams: streamCount)
        if !scheduler.urgent.isEmpty || scheduler.urgent.taken != nil { writeUrgent() }
        while outbox.space >= Self.controlRoom, let stream = scheduler.nextControl() {
            writeControl(of: stream)
            takeWritten()
        }
        guard hasReceivedHello else { return }
        if scheduler.asksDelegate { askDelegate(for: outbox, withWithdrawals: false) }
        if let epoch = scheduler.urgent.sync {
            scheduler.urgent.sync = nil
            Frames.writeNumber(.sync, epoch, to: &writer)
            takeWritten()
        }
    }

    /// Moves what was written to the outbox.
    private func takeWritten() {
        takeWritten(into: outbox)
    }

    private func takeWritten(into buffer: IOBuffer) {
        buffer.append(writer.bytes)
        writer.clear()
    }

    private func writeUrgent() {
        var urgent = scheduler.urgent
        if urgent.hello { hello.write(to: &writer) }
        urgent.hello = false
        if let number = urgent.pong { Frames.writeNumber(.pong, number, to: &writer) }
        urgent.pong = nil
        if let number = urgent.ping { Frames.writeNumber(.ping, number, to: &writer) }
        urgent.ping = nil
        if let number = urgent.taken { Frames.writeNumber(.taken, number, to: &writer) }
        urgent.taken = nil
        urgent.isTakenHurried = false
        if let policy = urgent.policy, hasReceivedHello {
            policy.write(to: &writer)
            urgent.policy = nil
        }
        scheduler.urgent = urgent
        takeWritten()
    }

    private func askDelegate(for buffer: IOBuffer, withWithdrawals: Bool) {
        guard scheduler.asksDelegate else { return }
        guard let user = delegates.user else { return scheduler.asksDelegate = false }
        buffer.compact()
        while buffer.space >= Self.controlRoom {
            switch user.writeControl(to: &writer, withWithdrawals: withWithdrawals) {
            case .wrote: takeWritten(into: buffer)
            case .later, .onlyWithdrawals: return
            case .nothing: return scheduler.asksDelegate = false
            }
        }
    }

    private func writeControl(of stream: TunnelStream) {
        let frames = stream.control.frames
        stream.control.frames = []
        if frames.contains(.open) { stream.open.write(to: &writer, stream: stream.id) }
        if frames.contains(.opened) {
            Frames.writeOpened(stream.id, window: hello.initialWindow, to: &writer)
        }
        if frames.contains(.moved) {
            Frames.writeMoved(stream.id, port: stream.control.detail, to: &writer)
        }
        if frames.contains(.keepAlive) {
            Frames.writeKeepAlive(stream.id, seconds: stream.control.detail, to: &writer)
        }
        if frames.contains(.window) {
            Frames.writeWindow(stream.id, offset: stream.control.window, to: &writer)
        }
        if frames.contains(.refused) {
            Frames.writeEnd(.refused, stream.id, stream.control.code, to: &writer)
        }
        if frames.contains(.reset) {
            Frames.writeEnd(.reset, stream.id, stream.control.code, to: &writer)
        }
        closeIfDone(stream)
    }

    // MARK: Data

    private func fillData() {
        while mayFill, let stream = scheduler.nextReady() {
            let most = outbox.count + Self.datagramBytesPerTurn
            fill(from: stream)
            guard stream.transport == .udp else { continue }
            var left = Self.datagramsPerTurn - 1
            // A flow that used up the window is held behind those that got nothing of it, not before them.
            while left > 0, outbox.count < most, mayFill, outgoing.pace.isOpen,
                scheduler.takeBack(stream)
            {
                fill(from: stream)
                left -= 1
            }
        }
    }

    private var mayFill: Bool { !isEnded && outbox.count < FrameHeader.maxData }

    private func fill(from stream: TunnelStream) {
        guard let handler = stream.handler, stream.state.maySend else { return }
        guard let limit = sendLimit(of: stream) else { return }
        let start = outbox.mark
        outbox.appendHeaderSlot()
        outgoing.turnStart = start
        let fill = handler.fill(outbox, limit: limit)
        outgoing.turnStart = nil
        if !isEnded { complete(stream, fill, headerAt: start) }
    }

    /// How many bytes a stream may send now; nil, and out of the queues of data, without credit.
    private func sendLimit(of stream: TunnelStream) -> Int? {
        let room = outbox.space - 2 * FrameHeader.size
        guard stream.transport == .tcp else {
            if outgoing.pace.isOpen { return room }
            scheduler.hold(stream)
            return nil
        }
        guard !stream.credit.isUsedUp else {
            stream.place = .blocked
            return nil
        }
        let credit = stream.credit.limit - stream.credit.sent
        return min(room, Int(min(credit, UInt64(FrameHeader.maxData))))
    }

    /// Completes the frame that a flow filled, or takes its header back.
    private func complete(_ stream: TunnelStream, _ fill: Fill, headerAt start: Int) {
        switch fill {
        case .bytes(let count, let more):
            let type: FrameType = stream.transport == .tcp ? .data : .datagram
            frame(stream, type, count, more: more, headerAt: start)
        case .urgent: frame(stream, .urgent, 1, more: true, headerAt: start)
        case .noRoom:
            outbox.truncate(to: start)
            scheduler.putBack(stream)
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

    private func frame(
        _ stream: TunnelStream, _ type: FrameType, _ count: Int, more: Bool, headerAt start: Int
    ) {
        let header = FrameHeader(type, length: count, stream: stream.id.rawValue)
        outbox.patch(header.packed, at: start)
        stream.credit.sent += UInt64(count)
        outgoing.hasData = true
        if type == .datagram { outgoing.pace.sentOne() } else { outgoing.pace.carriedBytes() }
        // The flow may have marked itself ready, or ended, inside its turn.
        if more, stream.handler != nil { scheduler.addAgain(stream) }
    }

    private func sendFin(on stream: TunnelStream) {
        stream.state.sendFin()
        outgoing.hasData = true
        Frames.writeFin(stream.id, to: &writer)
        takeWritten()
        closeIfDone(stream)
    }
}
