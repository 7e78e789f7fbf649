internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Posix
package import Reports
package import TwinportModel

/// Asks a running helper. Every call blocks until the answer is there.
package struct ControlClient: Sendable {
    /// The helper's socket.
    package let path: String

    /// Prepares to ask the helper at `path`.
    package init(path: String) {
        self.path = path
    }

    /// `GET /v1/status`.
    package func status() throws(ControlError) -> StatusReport {
        try get("status")
    }

    /// `GET /v1/ports`.
    package func ports() throws(ControlError) -> [PortSnapshot] {
        try get("ports")
    }

    /// `GET /v1/flows`.
    package func flows() throws(ControlError) -> [FlowSnapshot] {
        try get("flows")
    }

    /// The body of `GET /v1/NAME` as it came.
    package func text(_ name: String) throws(ControlError) -> String {
        String(buffer: try body("/v1/\(name)"))
    }

    /// The body of `GET /metrics`.
    package func metrics(_ format: MetricsFormat) throws(ControlError) -> String {
        String(buffer: try body("/metrics", accept: format.contentType))
    }

    private func get<Report: Decodable>(_ name: String) throws(ControlError) -> Report {
        let bytes = try body("/v1/\(name)")
        do {
            return try JSONDecoder().decode(Report.self, from: Data(bytes.readableBytesView))
        } catch {
            throw ControlError(
                "the helper's answer is not understood: are twinport and the helper of one version?"
            )
        }
    }

    func connect(
        _ group: MultiThreadedEventLoopGroup,
        _ prepare: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) throws(ControlError) -> any Channel {
        do {
            return try ClientBootstrap(group: group).channelInitializer(prepare)
                .connect(unixDomainSocketPath: path).wait()
        } catch let error as IOError
            where SystemError("connect", error.errnoCode).isPermissionDenied
        {
            throw ControlError(
                "\(path) belongs to another user: \(SystemError.text(of: error.errnoCode)); ask as that user or as "
                    + "root, or pass your own helper's socket with --control")
        } catch  where ![nil, .socket].contains(SystemFiles.kind(at: path)) {
            throw ControlError(
                "\(path) is not a socket; expected the helper's: pass it with --control")
        } catch {
            throw ControlError(
                "no helper runs at \(path): start \"twinport host\", or pass its socket with --control",
                isNotRunning: true)
        }
    }

    /// Asks on a thread that is gone when this returns, and so is everything that was needed for it.
    private func body(
        _ uri: String, accept: String = "application/json"
    ) throws(ControlError) -> ByteBuffer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        return try body(uri, accept, on: group)
    }

    private func body(
        _ uri: String, _ accept: String, on group: MultiThreadedEventLoopGroup
    ) throws(ControlError) -> ByteBuffer {
        let answer = group.next().makePromise(of: NIOHTTPClientResponseFull.self)
        let channel: any Channel
        do {
            channel = try connect(group) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandlers(
                        NIOHTTPClientResponseAggregator(maxContentLength: 256 << 20),
                        AnswerHandler(answer))
                }
            }
        } catch {
            answer.fail(error)
            throw error
        }
        defer { channel.close(promise: nil) }
        ask(uri, accept, channel)
        return try wait(for: answer.futureResult)
    }

    func ask(_ uri: String, _ accept: String, _ channel: any Channel) {
        let headers: HTTPHeaders = [
            "Host": "localhost", "Connection": "close", "Accept": accept,
        ]
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: uri, headers: headers)
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }

    private func wait(
        for answer: EventLoopFuture<NIOHTTPClientResponseFull>
    ) throws(ControlError) -> ByteBuffer {
        let response: NIOHTTPClientResponseFull
        do {
            response = try answer.wait()
        } catch {
            throw ControlError(
                "the helper at \(path) did not answer: \(PlainWords.text(error)); if that lasts, see its log, and "
                    + "start it again")
        }
        guard response.head.status == .ok else {
            throw ControlError(
                "the helper at \(path) answers with \(response.head.status.code): are twinport and the helper of one "
                    + "version?")
        }
        return response.body ?? ByteBuffer()
    }
}

/// Keeps a promise with the one answer that comes, or with what came in its place.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull

    private static let patience = TimeAmount.seconds(10)
    private let answer: EventLoopPromise<NIOHTTPClientResponseFull>

    init(_ answer: EventLoopPromise<NIOHTTPClientResponseFull>) {
        self.answer = answer
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let answer = self.answer
        let timeout = context.eventLoop.scheduleTask(in: Self.patience) {
            answer.fail(Silence(description: "nothing came for 10 s"))
        }
        answer.futureResult.whenComplete { _ in timeout.cancel() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        answer.succeed(unwrapInboundIn(data))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(Silence(description: "it closed the connection"))
    }
}
