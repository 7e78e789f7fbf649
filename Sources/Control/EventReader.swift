internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
package import Reports

extension ControlClient {
    /// Reads `GET /v1/events`, and calls `handler` with each event and its JSON, in order. Blocks until the stream ends:
    /// after what is kept, or with the helper.
    ///
    /// - Parameters:
    ///   - number: The last event that is known; 0: none, nil: all so far.
    ///   - follows: Whether the stream goes on after what is kept.
    ///   - handler: Called on a thread of its own.
    package func events(
        after number: UInt64?, follows: Bool,
        _ handler: @escaping @Sendable (HelperEvent, String) -> Void
    ) throws(ControlError) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let end = group.next().makePromise(of: Void.self)
        let channel: any Channel
        do {
            channel = try connect(group) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(IdleStateHandler(readTimeout: EventReader.patience))
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandler(EventReader(end, follows: follows, handler))
                }
            }
        } catch {
            end.fail(error)
            throw error
        }
        defer { channel.close(promise: nil) }
        let after = number.map { "&after=\($0)" } ?? ""
        ask("/v1/events?follow=\(follows)\(after)", "text/event-stream", channel)
        do {
            try end.futureResult.wait()
        } catch let error as ControlError {
            throw error
        } catch {
            throw ControlError("the helper at \(path) did not answer: \(PlainWords.text(error))")
        }
    }
}

/// Takes a response apart into events.
private final class EventReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// Three of the helper's signs of life.
    static let patience = TimeAmount.seconds(45)

    private let end: EventLoopPromise<Void>
    private let follows: Bool
    private let handler: (HelperEvent, String) -> Void
    private var parser = ServerSentEventParser()
    /// Whether the helper said yes.
    private var isOpen = false

    init(
        _ end: EventLoopPromise<Void>, follows: Bool,
        _ handler: @escaping (HelperEvent, String) -> Void
    ) {
        self.end = end
        self.follows = follows
        self.handler = handler
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            isOpen = head.status == .ok
            if !isOpen { end.fail(Self.refused(head.status)) }
        case .body(let bytes): if isOpen { read(bytes) }
        case .end: end.succeed(())
        }
    }

    private static func refused(_ status: HTTPResponseStatus) -> ControlError {
        switch status {
        case .notFound:
            ControlError("the helper is too old for events; restart it", isFinal: true)
        case .serviceUnavailable: ControlError("too many programs read the helper's events already")
        default: ControlError("the helper answers with \(status.code)")
        }
    }

    private func read(_ bytes: ByteBuffer) {
        let notUnderstood = ControlError(
            "the helper's events are not understood: are twinport and the helper of one version?",
            isFinal: true)
        guard let events = parser.read(bytes.readableBytesView) else {
            return end.fail(notUnderstood)
        }
        for event in events {
            let data = Data(event.data.utf8)
            guard let known = try? JSONDecoder().decode(HelperEvent.self, from: data) else {
                return end.fail(notUnderstood)
            }
            handler(known, event.data)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            end.fail(ControlError("nothing came for 45 s"))
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A helper that ends cuts its streams.
        if isOpen, follows { end.succeed(()) } else { end.fail(error) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if isOpen, follows {
            end.succeed(())
        } else {
            end.fail(ControlError("the helper closed the connection"))
        }
    }
}
