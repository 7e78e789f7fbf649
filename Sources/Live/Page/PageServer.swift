package import Control
internal import EventLoop
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Posix
package import Reports
internal import Sockets
internal import TwinportModel

// # The page's server
//
//     helper ◀─questions─ HelperQuestions ─answers─▶ PageModel ─news─▶ PageStream, one for each browser
//        └──events──▶ EventFollower ──"something happened"──▶ asks at once
//
// SwiftNIO, with one thread of its own, as the helper's control API. The questions and the events have a thread each; the
// helper is asked only while somebody looks.

/// Serves the page on loopback, and is a client of the helper as any other.
package final class PageServer: Sendable {
    /// How long a connection may be silent that is no stream.
    private static let patience = TimeAmount.seconds(10)
    /// How often the helper is asked while nothing happens.
    private static let pace = TimeAmount.seconds(1)

    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    private let hub: PageHub
    /// Where it listens.
    package let port: UInt16
    private let token: PageToken

    /// Where the page is, with what opens it.
    package var address: String { "http://127.0.0.1:\(port)/#token=\(token.text)" }

    /// Serves from now on.
    ///
    /// - Parameters:
    ///   - port: Of loopback; 0: one that is free.
    ///   - outlook: What `explain` needs to know beside the listeners.
    /// - Throws: ``SystemError`` when the port cannot be had.
    package init(
        _ client: ControlClient, port: UInt16,
        outlook: @escaping @Sendable (StatusReport) -> [Outlook]
    ) throws {
        let bound = try Self.bind(port)
        self.port = bound.port
        token = PageToken()
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        hub = try PageHub(loop, client, outlook: outlook)
        let visitors = NIOLoopBoundBox.makeBoxSendingValue(PageVisitors(), eventLoop: loop)
        let guardian = PageGuard(port: bound.port, token: token)
        channel = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .childChannelInitializer { [hub] channel in
                channel.eventLoop.makeCompletedFuture {
                    visitors.value.admit(channel)?.close(promise: nil)
                    channel.closeFuture.whenComplete { _ in visitors.value.remove(channel) }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(IdleStateHandler(allTimeout: Self.patience))
                    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                    try pipeline.addHandler(
                        PageHandler(guardian, hub) { visitors.value.remove($0) })
                }
            }
            .withBoundSocket(bound.descriptor).wait()
        try EventFollower.start(client) { [hub] in hub.hurry() }
        loop.scheduleRepeatedTask(initialDelay: Self.pace, delay: Self.pace) { [hub] _ in
            hub.tick()
        }
    }

    /// A socket with the mark of a page: the helper offers it to no guest.
    private static func bind(_ port: UInt16) throws(SystemError) -> (
        port: UInt16, descriptor: Int32
    ) {
        let socket = try Socket.boundTCP(to: Endpoint(.loopbackV4, port), isV6Only: true)
        socket.markAsPage()
        return (try socket.localEndpoint().port, try socket.duplicate())
    }
}

/// The connections that are open and are no streams, the oldest first. Any user of the machine can open some.
private struct PageVisitors {
    private static let most = 64
    private var channels: [any Channel] = []

    /// Counts one more.
    ///
    /// - Returns: The one that gives way to it.
    mutating func admit(_ channel: any Channel) -> (any Channel)? {
        channels.append(channel)
        return channels.count > Self.most ? channels.removeFirst() : nil
    }

    mutating func remove(_ channel: any Channel) {
        channels.removeAll { $0 === channel }
    }
}

/// Hears of the helper's events, also over its restarts.
private enum EventFollower {
    static func start(
        _ client: ControlClient, _ happened: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        try LoopThread.start(named: "events") {
            while true {
                // Without the events the helper is still asked every second; what is wrong with it, that tells.
                try? client.events(after: nil, follows: true) { _, _ in happened() }
                ThisProcess.pause(milliseconds: 500)
                happened()
            }
        }
    }
}
