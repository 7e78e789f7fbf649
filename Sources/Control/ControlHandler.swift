internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// Answers the requests of one connection, one after the other. On the server's thread.
final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let backend: any ControlBackend
    private var request: HTTPRequestHead?
    private var isAnswering = false
    /// The client has sent all that it will; what it has asked is still answered.
    private var hasEnded = false

    init(_ backend: any ControlBackend) {
        self.backend = backend
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = head
        case .body: break
        case .end:
            guard let request else { return }
            self.request = nil
            isAnswering = true
            answer(request, Reply(self, context, keepsAlive: request.isKeepAlive))
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is IdleStateHandler.IdleStateEvent: context.close(promise: nil)
        case ChannelEvent.inputClosed:
            hasEnded = true
            if !isAnswering { context.close(promise: nil) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(_ request: HTTPRequestHead, _ reply: Reply) {
        guard request.method == .GET else {
            return reply.fail(.methodNotAllowed, "only GET is served")
        }
        switch request.uri.prefix(while: { $0 != "?" }) {
        case "/v1/status": backend.status { reply.succeed($0) }
        case "/v1/ports": backend.ports { reply.succeed($0) }
        case "/v1/flows": backend.flows { reply.succeed($0) }
        default: reply.fail(.notFound, "no such resource")
        }
    }

    fileprivate func write(
        _ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ body: ByteBuffer,
        keepsAlive: Bool
    ) {
        var head = HTTPResponseHead(version: .http1_1, status: status)
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in
            finish(context, keepsAlive: keepsAlive)
        }
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(body))), promise: written)
    }

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

    func succeed(_ value: some Encodable & Sendable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let body = try? encoder.encode(value) else {
            return fail(.internalServerError, "the answer could not be written")
        }
        send(.ok, ByteBuffer(bytes: body))
    }

    func fail(_ status: HTTPResponseStatus, _ text: String) {
        send(status, ByteBuffer(string: "{\"error\":\"\(text)\"}\n"))
    }

    private func send(_ status: HTTPResponseStatus, _ body: ByteBuffer) {
        loop.execute {
            let (handler, context) = target.value
            handler.write(context, status, body, keepsAlive: keepsAlive)
        }
    }
}
