internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import Reports

/// Answers the requests of one connection, one after the other. On the server's thread.
final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let backend: any ControlBackend
    private let line: NIOLoopBoundBox<WaitingLine>
    private let hub: EventHub
    private let streamBegins: (any Channel) -> Void
    private var stream: EventStream?
    private var request: HTTPRequestHead?
    private var isAnswering = false
    /// It is the backend's silence that lasts, not the client's.
    private var awaitsBackend = false
    /// The client has sent all that it will; what it has asked is still answered.
    private var hasEnded = false

    /// - Parameter streamBegins: Called with a connection that will last, as a stream of events.
    init(
        _ backend: any ControlBackend, _ line: NIOLoopBoundBox<WaitingLine>, _ hub: EventHub,
        streamBegins: @escaping (any Channel) -> Void
    ) {
        self.backend = backend
        self.line = line
        self.hub = hub
        self.streamBegins = streamBegins
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = head
        case .body: break
        case .end:
            guard let request else { return }
            self.request = nil
            isAnswering = true
            // HEAD would have no body, and who reads on would take ours for the next answer.
            let keepsAlive = request.isKeepAlive && request.method == .GET
            answer(request, Reply(self, context, keepsAlive: keepsAlive))
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is IdleStateHandler.IdleStateEvent:
            if !awaitsBackend, stream == nil { context.close(promise: nil) }
        case ChannelEvent.inputClosed:
            hasEnded = true
            stream?.readerEnded()
            if !isAnswering { context.close(promise: nil) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stream?.pump()
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        // The stream refers to this handler.
        stream = nil
        hub.forgetClosed()
        context.fireChannelInactive()
    }

    private func answer(_ request: HTTPRequestHead, _ reply: Reply) {
        guard request.method == .GET else {
            return reply.fail(.methodNotAllowed, "only GET is served")
        }
        let backend = self.backend
        switch request.uri.prefix(while: { $0 != "?" }) {
        case "/v1/status": ask(reply) { backend.status(reply.succeed) }
        case "/v1/ports": ask(reply) { backend.ports(reply.succeed) }
        case "/v1/flows": ask(reply) { backend.flows(reply.succeed) }
        case "/v1/events": reply.stream(request)
        case "/metrics":
            let format = MetricsFormat(accept: request.headers["Accept"])
            ask(reply) { backend.metrics { reply.succeed($0, format) } }
        default: reply.fail(.notFound, "no such resource")
        }
    }

    private func ask(_ reply: Reply, _ question: @escaping () -> Void) {
        awaitsBackend = true
        line.value.join(WaitingLine.Question(isWanted: { reply.isWanted }, ask: question))
    }

    /// The backend answered: it is the next one's turn.
    fileprivate func answered() {
        awaitsBackend = false
        line.value.next()
    }

    /// Turns the connection into a stream of events.
    ///
    /// - Returns: Whether there was room for one more.
    fileprivate func stream(_ context: ChannelHandlerContext, _ query: EventQuery) -> Bool {
        let opened = hub.open(query, context) {
            streamBegins(context.channel)
            var head = HTTPResponseHead(version: .http1_1, status: .ok)
            head.headers.add(name: "Content-Type", value: "text/event-stream")
            head.headers.add(name: "Cache-Control", value: "no-store")
            head.headers.add(name: "Connection", value: "close")
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            let beginning = ByteBuffer(string: ServerSentEvent.beginning)
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(beginning))), promise: nil)
        } write: { [self] part in
            if let part {
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part))), promise: nil)
            } else {
                endStream(context)
            }
        }
        // One that had little to say is closed already, and would keep itself.
        if context.channel.isActive { stream = opened }
        if hasEnded { stream?.readerEnded() }
        return opened != nil
    }

    /// Ends a stream once the socket has taken all of it: closing drops what waits.
    private func endStream(_ context: ChannelHandlerContext) {
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    fileprivate func write(
        _ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ body: ByteBuffer,
        type: String, keepsAlive: Bool
    ) {
        var head = HTTPResponseHead(version: .http1_1, status: status)
        head.headers.add(name: "Content-Type", value: type)
        head.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in
            finish(context, keepsAlive: keepsAlive)
        }
        // In pieces: each that is taken is a sign of life, however slowly the client reads.
        var body = body
        while body.readableBytes > Self.piece, let piece = body.readSlice(length: Self.piece) {
            context.write(wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(body))), promise: written)
    }

    private static let piece = 65_536

    /// Ends an answer once the socket has taken it: a client that asks again and again and reads nothing has one
    /// answer waiting, and is closed for its silence.
    private func finish(_ context: ChannelHandlerContext, keepsAlive: Bool) {
        isAnswering = false
        // A request that waited for this is read within the call.
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        if !keepsAlive || hasEnded && !isAnswering { context.close(promise: nil) }
    }
}

/// Sends one answer. Any thread.
private struct Reply: Sendable {
    private let target: NIOLoopBound<(ControlHandler, ChannelHandlerContext)>
    private let loop: any EventLoop
    private let keepsAlive: Bool

    init(_ handler: ControlHandler, _ context: ChannelHandlerContext, keepsAlive: Bool) {
        loop = context.eventLoop
        target = NIOLoopBound((handler, context), eventLoop: loop)
        self.keepsAlive = keepsAlive
    }

    /// Whether there is still somebody to be answered. On the server's thread.
    var isWanted: Bool { target.value.1.channel.isActive }

    /// Encodes on the server's thread: the backend's has traffic to carry.
    func succeed(_ value: some Encodable & Sendable) {
        loop.execute {
            target.value.0.answered()
            guard let body = try? JSONText.encoder().encode(value) else {
                return fail(.internalServerError, "the answer could not be written")
            }
            write(.ok, ByteBuffer(bytes: body))
        }
    }

    /// Writes on the server's thread, as above.
    func succeed(_ metrics: MetricsReport, _ format: MetricsFormat) {
        loop.execute {
            target.value.0.answered()
            let text = MetricsText.text(metrics, format)
            write(.ok, ByteBuffer(string: text), type: format.contentType)
        }
    }

    /// Begins a stream of events. On the server's thread.
    func stream(_ request: HTTPRequestHead) {
        let last = request.headers.first(name: "Last-Event-ID")
        guard let query = EventQuery(uri: request.uri, lastEventID: last) else {
            return fail(.badRequest, "expected after=NUMBER, follow=true or follow=false")
        }
        let (handler, context) = target.value
        if !handler.stream(context, query) {
            fail(.serviceUnavailable, "\(EventHub.most) streams of events are open already")
        }
    }

    /// Answers without the backend. On the server's thread.
    func fail(_ status: HTTPResponseStatus, _ text: String) {
        write(status, ByteBuffer(string: "{\"error\":\"\(text)\"}\n"))
    }

    private func write(
        _ status: HTTPResponseStatus, _ body: ByteBuffer, type: String = "application/json"
    ) {
        let (handler, context) = target.value
        handler.write(context, status, body, type: type, keepsAlive: keepsAlive)
    }
}
