internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// Answers the requests of one connection, one after the other. On the server's thread.
final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let backend: any ControlBackend
    private let line: NIOLoopBoundBox<WaitingLine>
    private var request: HTTPRequestHead?
    private var isAnswering = false
    /// It is the backend's silence that lasts, not the client's.
    private var awaitsBackend = false
    /// The client has sent all that it will; what it has asked is still answered.
    private var hasEnded = false

    init(_ backend: any ControlBackend, _ line: NIOLoopBoundBox<WaitingLine>) {
        self.backend = backend
        self.line = line
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
            if !awaitsBackend { context.close(promise: nil) }
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
        let backend = self.backend
        switch request.uri.prefix(while: { $0 != "?" }) {
        case "/v1/status": ask(reply) { backend.status(reply.succeed) }
        case "/v1/ports": ask(reply) { backend.ports(reply.succeed) }
        case "/v1/flows": ask(reply) { backend.flows(reply.succeed) }
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
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard let body = try? encoder.encode(value) else {
                return fail(.internalServerError, "the answer could not be written")
            }
            write(.ok, ByteBuffer(bytes: body))
        }
    }

    /// Answers without the backend. On the server's thread.
    func fail(_ status: HTTPResponseStatus, _ text: String) {
        write(status, ByteBuffer(string: "{\"error\":\"\(text)\"}\n"))
    }

    private func write(_ status: HTTPResponseStatus, _ body: ByteBuffer) {
        let (handler, context) = target.value
        handler.write(context, status, body, keepsAlive: keepsAlive)
    }
}

/// Who waits for the backend, which is asked one question at a time: it has traffic to carry, and connections that
/// were closed meanwhile must not leave their questions with it. On the server's thread.
struct WaitingLine {
    struct Question {
        /// Whether the one who asked is still there.
        let isWanted: () -> Bool
        let ask: () -> Void
    }

    private var questions: [Question] = []
    private var isAsking = false

    mutating func join(_ question: Question) {
        questions.append(question)
        // More than there are connections: some are closed.
        if questions.count > 64 { questions.removeAll { !$0.isWanted() } }
        if !isAsking { next() }
    }

    /// Asks the first question that is still wanted.
    mutating func next() {
        isAsking = false
        let wanted = questions.drop { !$0.isWanted() }
        questions = Array(wanted.dropFirst())
        guard let question = wanted.first else { return }
        isAsking = true
        question.ask()
    }
}
