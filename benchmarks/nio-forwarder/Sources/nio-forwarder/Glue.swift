internal import NIOCore

/// Passes what its channel receives to the other one. Both are on one loop.
final class Glue: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// The handler of the other channel; they let go of each other when one of the channels is gone.
    var other: Glue?
    private let channel: any Channel
    /// Whether the end of this channel's bytes was seen.
    private var isEnded = false

    init(_ channel: any Channel) {
        self.channel = channel
    }

    /// The accepted channel becomes active last: it was held back until the target had answered.
    func channelActive(context: ChannelHandlerContext) {
        setReading(true)
        other?.setReading(true)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        other?.channel.write(unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        other?.channel.flush()
    }

    /// Back-pressure: nothing is read there while too much waits to be written here.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        other?.setReading(channel.isWritable)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event, let other {
            isEnded = true
            // An empty buffer stands at the end: closing before it was written could cut what waits before it.
            let target = other.channel
            target.writeAndFlush(ByteBuffer()).whenComplete { _ in
                target.close(mode: .output, promise: nil)
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        // When both directions ended, the other channel closes by itself once it has written everything.
        if let other, !(isEnded && other.isEnded) {
            other.channel.close(promise: nil)
        }
        other?.other = nil
        other = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func setReading(_ isReading: Bool) {
        // It fails on a channel that is closed, which then does not read anyway.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }
}
