internal import Addresses
internal import Sockets
internal import Wire

// Receiving: bytes → frames → validation → one call each to the delegate or a stream's handler.

extension Session {
    /// How many full reads one readiness may take before other sockets get their turn.
    private static let reads = 4

    /// Reads and handles what the link has. Called by the link.
    public func linkReadable() {
        do throws(SessionEnd) {
            for _ in 0..<Self.reads {
                guard !isEnded else { return }
                inbox.compact()
                let room = inbox.space
                guard let count = try readLink() else { return }
                guard count > 0 else {
                    throw SessionEnd(.other, "the other end closed the tunnel", isByPeer: true)
                }
                liveness.heard(now: clock())
                try process()
                if count < room { return }
            }
        } catch {
            end(error)
        }
    }

    private func readLink() throws(SessionEnd) -> Int? {
        do {
            return try link.read(into: inbox)
        } catch {
            throw SessionEnd(.other, "the tunnel broke: \(error)")
        }
    }

    private func process() throws(SessionEnd) {
        var position = 0
        let skipped = decoder.skipped
        let inbox = self.inbox
        try inbox.withReadable { (bytes) throws(SessionEnd) in
            while !isEnded {
                switch try step(bytes, &position) {
                case .incomplete: return
                case .frame(let header, let payload): try dispatch(header, bytes, payload)
                case .data(let stream, let range): try receiveData(stream, bytes, range)
                }
            }
        }
        inbox.consume(position)
        // What we do not know has no effect, and is taken at the rate of what has none.
        for _ in 0..<(decoder.skipped &- skipped) where !isEnded { try rates.useless(now: clock()) }
    }

    private func step(
        _ bytes: Span<UInt8>, _ position: inout Int
    ) throws(SessionEnd) -> FrameDecoder.Step {
        do {
            return try decoder.next(in: bytes, from: &position)
        } catch {
            throw SessionEnd(wire: error, isGreeted: isGreeted)
        }
    }

    private func dispatch(
        _ header: FrameHeader, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        guard let type = header.type else { return }
        if !isGreeted, type != .hello, type != .goAway {
            throw SessionEnd(.protocolError, "the first frame is not HELLO: is this Twinport?")
        }
        do {
            if header.stream == 0 {
                try dispatchSession(type, bytes, payload)
            } else {
                try dispatchStream(type, header.stream, bytes, payload)
            }
        } catch let error as WireError {
            throw SessionEnd(wire: error, isGreeted: isGreeted)
        } catch let error as SessionEnd {
            throw error
        } catch {
            throw SessionEnd(.other, "\(error)")
        }
    }

    // MARK: Frames of the session

    private func dispatchSession(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws {
        switch type {
        case .hello: try greet(Hello(bytes, payload))
        case .goAway:
            let (code, reason) = try Frames.goAway(bytes, payload)
            throw SessionEnd(code, reason, isByPeer: true)
        case .ping, .pong, .sync, .policy: try dispatchSmall(type, bytes, payload)
        case .listener, .listenerGone, .mirror: try dispatchListener(type, bytes, payload)
        default: throw WireError.wrongStream(type)
        }
    }

    private func dispatchSmall(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws {
        try rates.session(now: clock())
        switch type {
        case .ping: waiting.urgent.pong = try Frames.number(.ping, bytes, payload)
        case .pong: _ = try Frames.number(.pong, bytes, payload)
        case .sync:
            _ = try Frames.number(.sync, bytes, payload)
            delegate?.sessionSynced(self)
        default:
            let policy = try PolicyMessage(bytes, payload)
            guard hello.role == .guest else {
                throw SessionEnd(.protocolError, "POLICY from a guest")
            }
            delegate?.session(self, asked: policy)
        }
    }

    private func dispatchListener(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws {
        try rates.listener(now: clock())
        switch type {
        case .listener:
            let message = try ListenerMessage(bytes, payload)
            delegate?.session(self, advertised: message)
        case .listenerGone:
            let id = try Frames.gone(bytes, payload)
            delegate?.session(self, withdrew: id)
        default:
            let message = try MirrorMessage(bytes, payload)
            delegate?.session(self, reported: message)
        }
    }

    // MARK: Frames of streams

    private func dispatchStream(
        _ type: FrameType, _ number: UInt32, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws {
        guard let id = StreamID(rawValue: number) else { throw WireError.wrongStream(type) }
        switch type {
        case .open: try receiveOpen(id, OpenMessage(bytes, payload))
        case .opened: try receiveOpened(id, window: Frames.opened(bytes, payload))
        case .fin:
            guard payload.isEmpty else { throw WireError.malformed(.fin) }
            try receiveFin(id)
        case .window: try receiveWindow(id, Frames.window(bytes, payload))
        case .refused, .reset: try receiveEnd(id, Frames.end(type, bytes, payload), type)
        case .datagram: try receiveDatagram(id, bytes, payload)
        default: throw WireError.wrongStream(type)
        }
    }

    private func receiveOpen(_ id: StreamID, _ message: OpenMessage) throws(SessionEnd) {
        try rates.open(now: clock())
        guard !isOurs(id) else { throw SessionEnd(.protocolError, "OPEN with our parity") }
        let stream = TunnelStream(
            id: id, session: self, isLocal: false, open: message,
            sendLimit: UInt64(message.window),
            window: ReceiveWindow(initial: hello.initialWindow, now: clock()))
        guard accepted.insert(stream) else {
            throw SessionEnd(
                .protocolError, "OPEN on a number that is in use or was the last one, or too many")
        }
        guard let delegate else { return stream.refuse(.disabled) }
        delegate.session(self, opened: stream, message)
    }

    /// The stream a frame is for. Frames that may be late (see ``StreamID``) are passed over when it is
    /// gone; others then are a fault of the session.
    private func target(
        _ id: StreamID, _ type: FrameType, mayBeLate: Bool = false
    ) throws(SessionEnd) -> TunnelStream? {
        if let stream = lookup(id) {
            guard !stream.receivedTerminal || mayBeLate else {
                throw SessionEnd(.protocolError, "\(type) after the stream's end")
            }
            return stream
        }
        guard mayBeLate else {
            throw SessionEnd(.protocolError, "\(type) on a stream that is not open")
        }
        try rates.useless(now: clock())
        return nil
    }

    private func receiveOpened(_ id: StreamID, window: UInt32) throws(SessionEnd) {
        guard let stream = try target(id, .opened) else { return }
        guard stream.isLocal else { throw SessionEnd(.protocolError, "OPENED from the opener") }
        guard !stream.receivedOpened else { throw SessionEnd(.protocolError, "OPENED twice") }
        stream.receivedOpened = true
        raise(stream, to: UInt64(window))
        stream.handler?.streamOpened()
    }

    private func receiveData(
        _ number: UInt32, _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(SessionEnd) {
        guard isGreeted, let id = StreamID(rawValue: number) else {
            throw SessionEnd(.protocolError, "DATA before HELLO, or on slot 0")
        }
        guard let stream = try target(id, .data) else { return }
        guard stream.transport == .tcp else {
            throw SessionEnd(.protocolError, "DATA on a UDP stream")
        }
        let verdict = stream.window.receive(range.count, &budget)
        guard let handler = stream.handler else {
            // A stream that we reset: the peer may use up the credit it had, no more.
            if verdict != .fine { try rates.useless(now: clock()) }
            return
        }
        switch verdict {
        case .fine:
            handler.received(bytes.extracting(range))
            keepWithinBudget()
            heldPeak = max(heldPeak, budget.held)
        case .beyondCredit: drop(stream, handler, .violation)
        }
    }

    private func receiveDatagram(
        _ id: StreamID, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        guard let stream = try target(id, .datagram) else { return }
        guard stream.transport == .udp else {
            throw SessionEnd(.protocolError, "DATAGRAM on a TCP stream")
        }
        stream.handler?.received(bytes.extracting(payload))
    }

    private func receiveFin(_ id: StreamID) throws(SessionEnd) {
        guard let stream = try target(id, .fin) else { return }
        stream.receivedTerminal = true
        stream.pending.remove(.window)
        stream.handler?.receivedEnd()
        closeIfDone(stream)
    }

    private func receiveWindow(_ id: StreamID, _ offset: UInt64) throws(SessionEnd) {
        guard offset <= UInt64(Int64.max) else {
            throw SessionEnd(.protocolError, "WINDOW past 2^63")
        }
        guard let stream = try target(id, .window, mayBeLate: true) else { return }
        if offset <= stream.sendLimit || stream.sentTerminal || stream.receivedReset {
            return try rates.useless(now: clock())
        }
        raise(stream, to: offset)
    }

    private func raise(_ stream: TunnelStream, to offset: UInt64) {
        guard offset > stream.sendLimit else { return }
        stream.sendLimit = offset
        guard stream.isBlocked else { return }
        stream.isBlocked = false
        guard stream.handler != nil, !stream.sentTerminal else { return }
        stream.isReady = true
        waiting.ready.append(stream)
    }

    private func receiveEnd(
        _ id: StreamID, _ code: ResetCode, _ type: FrameType
    ) throws(SessionEnd) {
        guard let stream = try target(id, type, mayBeLate: type == .reset) else { return }
        if type == .refused {
            guard stream.isLocal, !stream.receivedOpened else {
                throw SessionEnd(.protocolError, "REFUSED from the opener, or after OPENED")
            }
        }
        if stream.receivedReset { return try rates.useless(now: clock()) }
        stream.receivedReset = true
        stream.receivedTerminal = true
        let handler = stream.handler
        // Our own last frame: the peer keeps the number until it has it.
        if !stream.sentTerminal { end(stream, with: .reset, code) } else { stream.handler = nil }
        handler?.streamEnded(code)
        closeIfDone(stream)
    }
}

extension SessionEnd {
    /// Says what was wrong with the peer's bytes.
    init(wire error: WireError, isGreeted: Bool) {
        self.init(
            .protocolError,
            isGreeted
                ? "the peer broke the protocol: \(error)"
                : "the other end does not speak Twinport's protocol: \(error)")
    }
}
