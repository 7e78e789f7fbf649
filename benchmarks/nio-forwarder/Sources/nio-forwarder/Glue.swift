internal import NIOCore

/// Passes what its channel receives to the other one. Both are on one loop.
final class Glue: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// The handler of the other channel; they let go of each other when one of the channels is gone.
    var other: Glue?
    private let channel: any Channel

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
        if case ChannelEvent.inputClosed = event { end(.output) }
        context.fireUserInboundEventTriggered(event)
    }

    /// Also the end of this channel's bytes, when its other direction had ended before: NIO then closes at once.
    func channelInactive(context: ChannelHandlerContext) {
        end(.all)
        other?.other = nil
        other = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        other?.channel.close(promise: nil)
        context.close(promise: nil)
    }

    /// Closes the other channel once it has written everything: closing by itself would drop what still waits
    /// there, so an empty buffer goes last, and closing follows it.
    private func end(_ mode: CloseMode) {
        guard let target = other?.channel else { return }
        target.writeAndFlush(ByteBuffer()).whenComplete { _ in
            target.close(mode: mode, promise: nil)
        }
    }

    private func setReading(_ isReading: Bool) {
        // It fails on a channel that is closed, which then does not read anyway.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }
}
