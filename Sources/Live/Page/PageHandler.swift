internal import Control
internal import NIOCore
internal import NIOHTTP1
internal import Reports

/// Answers the requests of one connection, one after the other. On the server's thread.
final class PageHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let guardian: PageGuard
    private let hub: PageHub
    private let streamBegins: (any Channel) -> Void
    private var request: HTTPRequestHead?
    private var isStream = false

    /// - Parameter streamBegins: Called with a connection that will last.
    init(
        _ guardian: PageGuard, _ hub: PageHub, streamBegins: @escaping (any Channel) -> Void
    ) {
        self.guardian = guardian
        self.hub = hub
        self.streamBegins = streamBegins
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = head
        // No question has one.
        case .body: context.close(promise: nil)
        case .end:
            guard let head = request, !isStream else { return context.close(promise: nil) }
            request = nil
            answer(head, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            // A stream has a beat of its own.
            if !isStream { context.close(promise: nil) }
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        hub.forgetClosed()
        context.fireChannelInactive()
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        var asked = PageRequest(
            method: head.method.rawValue, uri: head.uri, hosts: head.headers["Host"])
        asked.origin = head.headers.first(name: "Origin")
        asked.site = head.headers.first(name: "Sec-Fetch-Site")
        asked.authorization = head.headers.first(name: "Authorization")
        let resource: PageGuard.Resource
        do {
            resource = try guardian.resource(for: asked)
        } catch {
            return refuse(error, context)
        }
        switch resource {
        case .document: sendDocument(context)
        case .stream: openStream(context)
        case .explanation(let row): sendExplanation(row, context)
        }
    }

    private func sendDocument(_ context: ChannelHandlerContext) {
        var random = SystemRandomNumberGenerator()
        let nonce = PageToken.digits(16, &random)
        send(
            PageDocument.text(nonce: nonce), status: 200, "text/html; charset=utf-8", context,
            ["Content-Security-Policy": PageDocument.policy(nonce: nonce)])
    }

    private func sendExplanation(_ row: UInt64, _ context: ChannelHandlerContext) {
        guard let explanation = hub.explanation(of: row),
            let json = try? JSONText.text(explanation)
        else { return refuse(.missing, context) }
        send(json, status: 200, "application/json", context)
    }

    private func openStream(_ context: ChannelHandlerContext) {
        let stream = PageStream(context) { [self] part in
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part))), promise: nil)
        }
        // Its first news comes later: there is time for the head.
        guard hub.open(stream) else {
            return refuse(.full, context)
        }
        isStream = true
        streamBegins(context.channel)
        let head = Self.head(200, "text/event-stream", ["Connection": "close"])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        let beginning = ByteBuffer(string: ServerSentEvent.keepAlive)
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(beginning))), promise: nil)
    }

    private static func head(
        _ status: Int, _ type: String, _ more: KeyValuePairs<String, String>
    ) -> HTTPResponseHead {
        var head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: status))
        head.headers.add(name: "Content-Type", value: type)
        for (name, value) in PageDocument.headers { head.headers.add(name: name, value: value) }
        for (name, value) in more { head.headers.add(name: name, value: value) }
        return head
    }

    private func refuse(_ refusal: PageGuard.Refusal, _ context: ChannelHandlerContext) {
        send(
            refusal.text + "\n", status: refusal.code, "text/plain; charset=utf-8", context)
    }

    /// A whole answer, and the connection's end: a browser needs few of them.
    private func send(
        _ text: String, status: Int, _ type: String, _ context: ChannelHandlerContext,
        _ more: KeyValuePairs<String, String> = [:]
    ) {
        let body = ByteBuffer(string: text)
        var head = Self.head(status, type, more)
        head.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        head.headers.add(name: "Connection", value: "close")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }
}
