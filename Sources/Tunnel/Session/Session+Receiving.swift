internal import Sockets
internal import TwinportModel
internal import Wire

// Receiving: bytes → frames → validation → one call each to the delegate or a stream's handler.
//
// What is a value of its own (a decoder, a stream's state, the rates) is changed in a copy and put back. An access that
// lasts for a call makes every access to the same variable, here and elsewhere, one that is checked at run time
// (docs/performance.md, "What Swift adds").

extension Session: LinkOwner {
    /// How many full reads one readiness may take before other sockets get their turn.
    private static let reads = 4
    /// After how many frames it takes no further one, and the next one is small: frames of a byte cost a microsecond
    /// or two each, and a full inbox holds fifty thousand of them.
    private static let frames = 2_048
    private static let smallRead = 64 << 10

    /// The link takes bytes again.
    package func linkWritable() { pump() }

    /// Reads and handles what the link has.
    package func linkReadable() {
        do throws(SessionEnd) {
            var frames = 0
            for _ in 0..<Self.reads {
                guard !isEnded, frames < Self.frames else { return }
                inbox.compact()
                let room = inbox.readSpace
                guard let count = try readLink() else { return }
                guard count > 0 else {
                    throw SessionEnd.closedByPeer
                }
                incoming.liveness.heard(now: clock())
                incoming.news.begin()
                frames += try process()
                inbox.readLimit = frames < Self.frames ? .max : Self.smallRead
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
            throw SessionEnd(link: error)
        }
    }

    /// Handles the frames that are there whole.
    ///
    /// - Returns: How many.
    private func process() throws(SessionEnd) -> Int {
        var position = 0
        var frames = 0
        let skipped = incoming.decoder.skipped
        let inbox = self.inbox
        try inbox.withReadable { (bytes) throws(SessionEnd) in
            while !isEnded {
                switch try step(bytes, &position) {
                case .incomplete: return
                case .frame(let header, let payload)
                where header.rawType == FrameType.datagram.rawValue:
                    frames += try receiveDatagrams(header.stream, bytes, payload, &position) - 1
                case .frame(let header, let payload): try dispatch(header, bytes, payload)
                case .data(let stream, let range): try receiveData(stream, bytes, range)
                }
                frames += 1
            }
        }
        inbox.consume(position)
        // The decoder skipped frames of unknown types: each counts as a frame without effect.
        for _ in 0..<(incoming.decoder.skipped &- skipped) where !isEnded {
            try charge(.useless)
            frames += 1
        }
        return frames
    }

    private func step(
        _ bytes: Span<UInt8>, _ position: inout Int
    ) throws(SessionEnd) -> FrameDecoder.Step {
        do {
            var decoder = incoming.decoder
            let step = try decoder.next(in: bytes, from: &position)
            incoming.decoder = decoder
            return step
        } catch {
            throw SessionEnd(wire: error, hasReceivedHello: hasReceivedHello)
        }
    }

    /// Counts a frame against what the peer may send; too many end the session.
    func charge(_ kind: FrameRates.Kind) throws(SessionEnd) {
        var rates = incoming.rates
        try rates.count(kind, now: clock())
        incoming.rates = rates
    }

    private func dispatch(
        _ header: FrameHeader, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        guard let type = header.type else { return }
        if type != .hello, type != .goAway { try requireHello() }
        if header.stream == 0 {
            try dispatchSession(type, bytes, payload)
        } else {
            try dispatchStream(type, header.stream, bytes, payload)
        }
    }

    /// Ends the session if a frame comes before the peer's HELLO that may not.
    func requireHello() throws(SessionEnd) {
        guard hasReceivedHello else {
            throw SessionEnd(.protocolError, SessionEnd.notTwinport)
        }
    }

    /// Reads a payload; what is wrong with it ends the session.
    func parsed<Message>(
        _ read: () throws(WireError) -> Message
    ) throws(SessionEnd) -> Message {
        do {
            return try read()
        } catch {
            throw SessionEnd(wire: error, hasReceivedHello: hasReceivedHello)
        }
    }

    // MARK: Frames of the session

    private func dispatchSession(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        switch type {
        case .hello:
            try receiveHello(try parsed { () throws(WireError) in try Hello(bytes, payload) })
        case .goAway:
            let (code, reason) = try parsed { () throws(WireError) in
                try Frames.goAway(bytes, payload)
            }
            throw SessionEnd(code, reason, isByPeer: true)
        case .taken:
            try receiveTaken(
                try parsed { () throws(WireError) in try Frames.number(type, bytes, payload) })
        case .ping, .pong, .sync, .policy: try dispatchSmall(type, bytes, payload)
        case .listener, .listenerGone, .mirror, .oddSocket, .placedListener:
            try dispatchListener(type, bytes, payload)
        case .forward, .forwardGone, .forwardState: try dispatchForward(type, bytes, payload)
        default: throw SessionEnd(wire: .wrongStream(type), hasReceivedHello: hasReceivedHello)
        }
    }

    private func dispatchSmall(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        try charge(.session)
        guard type != .policy else {
            let policy = try parsed { () throws(WireError) in try PolicyMessage(bytes, payload) }
            guard hello.role == .guest else {
                throw SessionEnd(.protocolError, "POLICY from a guest")
            }
            return tell(.policy(policy))
        }
        let number = try parsed { () throws(WireError) in try Frames.number(type, bytes, payload) }
        if type == .ping { scheduler.urgent.pong = number }
        if type == .sync { tell(.synced) }
    }

    private func dispatchListener(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        try charge(.listener(type))
        let message = try parsed { () throws(WireError) -> ControlMessage in
            switch type {
            case .listener, .oddSocket, .placedListener:
                .listener(try ListenerMessage(type, bytes, payload))
            case .listenerGone: .listenerGone(try Frames.gone(bytes, payload))
            default: .mirror(try MirrorMessage(bytes, payload))
            }
        }
        // A guest has no say in where its mirrors are on the host.
        if type == .placedListener, hello.role == .host {
            throw SessionEnd(.protocolError, "\(type) from a guest")
        }
        if type != .mirror { incoming.news.arrived() }
        tell(message)
    }

    /// Bytes of an application are about to be handed on, which may tell of a listener whose frame came before them.
    func settleNews() {
        if incoming.news.takeTurn() { delegates.user?.settle() }
    }

    /// Before it is adopted a session has nobody to tell: a peer sends nothing but HELLO until it is greeted.
    func tell(_ message: ControlMessage) {
        delegates.user?.received(message)
    }

    // MARK: Frames of streams

    private func dispatchStream(
        _ type: FrameType, _ number: UInt32, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        guard let id = StreamID(rawValue: number) else {
            throw SessionEnd(wire: .wrongStream(type), hasReceivedHello: hasReceivedHello)
        }
        switch type {
        case .open:
            try receiveOpen(
                id, try parsed { () throws(WireError) in try OpenMessage(bytes, payload) })
        case .opened:
            let window = try parsed { () throws(WireError) in try Frames.opened(bytes, payload) }
            guard let stream = try target(id, .opened, .opened) else { return }
            raise(stream, to: UInt64(window))
        case .fin:
            guard payload.isEmpty else {
                throw SessionEnd(wire: .malformed(.fin), hasReceivedHello: hasReceivedHello)
            }
            try receiveFin(id)
        case .window:
            try receiveWindow(
                id, try parsed { () throws(WireError) in try Frames.window(bytes, payload) })
        case .refused, .reset:
            let code = try parsed { () throws(WireError) in try Frames.end(type, bytes, payload) }
            try receiveEnd(id, code, type)
        case .moved, .keepAlive, .urgent: try dispatchExtension(type, id, bytes, payload)
        default: throw SessionEnd(wire: .wrongStream(type), hasReceivedHello: hasReceivedHello)
        }
    }

    /// Frames that a peer sends only to a side that says in HELLO that it understands them.
    private func dispatchExtension(
        _ type: FrameType, _ id: StreamID, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        switch type {
        case .moved:
            let port = try parsed { () throws(WireError) in try Frames.moved(bytes, payload) }
            // It costs a socket, as OPEN does at the other side.
            try charge(.open)
            try target(id, type, .moved)?.handler?.moved(to: port)
        case .keepAlive:
            let seconds = try parsed { () throws(WireError) in
                try Frames.keepAlive(bytes, payload)
            }
            // It may come as often as the peer likes, and each costs system calls.
            try charge(.useless)
            try target(id, type, .keepAlive)?.handler?.keepAlive(after: seconds)
        default:
            guard payload.count == 1 else {
                throw SessionEnd(wire: .malformed(type), hasReceivedHello: hasReceivedHello)
            }
            let byte = bytes[payload.lowerBound]
            guard let stream = try target(id, type, .urgent) else { return }
            try deliver(1, on: stream) { $0.receivedUrgent(byte) }
        }
    }

    private func receiveOpen(_ id: StreamID, _ message: OpenMessage) throws(SessionEnd) {
        try charge(.open)
        guard !isOurs(id) else { throw SessionEnd(.protocolError, "OPEN with our parity") }
        let stream = TunnelStream(
            id: id, owner: self, isLocal: false, open: message,
            sendLimit: UInt64(message.window),
            window: ReceiveWindow(initial: hello.initialWindow, now: clock()))
        guard streams.accepted.insert(stream) else {
            throw SessionEnd(
                .protocolError, "OPEN on a number that is in use or was the last one, or too many")
        }
        guard let user = delegates.user else { return stream.refuse(.disabled) }
        user.opened(stream, message)
    }

    /// The stream that a frame is for, once the stream's state has taken the frame.
    ///
    /// - Returns: Nil when the frame has no effect, which is counted: it may be late (see ``StreamID``).
    func target(
        _ id: StreamID, _ type: FrameType, _ frame: StreamState.Frame
    ) throws(SessionEnd) -> TunnelStream? {
        if let stream = lookup(id) { return try take(frame, type, on: stream) ? stream : nil }
        guard type == .window || type == .reset else {
            throw SessionEnd(.protocolError, "\(type) on a stream that is not open")
        }
        try charge(.useless)
        return nil
    }

    private func take(
        _ frame: StreamState.Frame, _ type: FrameType, on stream: TunnelStream
    ) throws(SessionEnd) -> Bool {
        let hasEffect: Bool
        do {
            var state = stream.state
            hasEffect = try state.receive(frame)
            stream.state = state
        } catch {
            throw SessionEnd(error, by: type)
        }
        if !hasEffect { try charge(.useless) }
        return hasEffect
    }

    private func receiveData(
        _ number: UInt32, _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(SessionEnd) {
        guard hasReceivedHello, let id = StreamID(rawValue: number) else {
            throw SessionEnd(.protocolError, "DATA before HELLO, or on slot 0")
        }
        guard let stream = try target(id, .data, .data) else { return }
        outgoing.pace.carriedBytes()
        try deliver(range.count, on: stream) { $0.received(bytes.extracting(range)) }
    }

    /// Hands on bytes of a TCP stream, if the credit covers them.
    private func deliver(
        _ count: Int, on stream: TunnelStream, _ body: (any StreamHandler) -> Void
    ) throws(SessionEnd) {
        let verdict = stream.window.receive(count, &memory.budget)
        guard let handler = stream.handler else {
            // A stream that we reset: the peer may use up the credit it had, no more.
            if verdict != .fine { try charge(.useless) }
            return
        }
        switch verdict {
        case .fine:
            settleNews()
            body(handler)
            keepWithinBudget()
            memory.heldPeak = max(memory.heldPeak, memory.budget.held)
        case .beyondCredit: drop(stream, handler, .violation)
        }
    }

    private func receiveFin(_ id: StreamID) throws(SessionEnd) {
        guard let stream = try target(id, .fin, .fin) else { return }
        stream.control.frames.remove(.window)
        settleNews()
        stream.handler?.receivedEnd()
        closeIfDone(stream)
    }

    private func receiveWindow(_ id: StreamID, _ offset: UInt64) throws(SessionEnd) {
        guard offset <= UInt64(Int64.max) else {
            throw SessionEnd(.protocolError, "WINDOW past 2^63")
        }
        let grants = lookup(id).map { offset > $0.credit.limit } ?? false
        guard let stream = try target(id, .window, .window(grants: grants)) else { return }
        raise(stream, to: offset)
    }

    private func raise(_ stream: TunnelStream, to offset: UInt64) {
        guard offset > stream.credit.limit else { return }
        stream.credit.limit = offset
        scheduler.unblock(stream, isWanted: stream.handler != nil && stream.state.maySend)
    }

    private func receiveEnd(
        _ id: StreamID, _ code: ResetCode, _ type: FrameType
    ) throws(SessionEnd) {
        let frame: StreamState.Frame = type == .refused ? .refused : .reset
        guard let stream = try target(id, type, frame) else { return }
        let handler = stream.handler
        // Our own last frame: the peer keeps the number until it has it.
        if stream.state.maySend { end(stream, with: .reset, code) } else { stream.handler = nil }
        handler?.streamEnded(code)
        closeIfDone(stream)
    }
}
