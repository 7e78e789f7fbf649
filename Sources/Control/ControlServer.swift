internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Posix
internal import Sockets

// # The control API's server
//
// SwiftNIO, with one thread of its own. Nothing here uses Swift concurrency, and so nothing in the helper does:
// its executor on Linux is libdispatch, which opens files in /proc to look at its own threads and ends the
// program when there is no descriptor left for that. A NIO loop needs no descriptor but those that it began with.
//
//     accept → Visitors (32, the oldest gives way) → HTTP → ControlHandler → ControlBackend → data loop
//                                                               ◀─────────── reply, on any thread

/// Where the control API gets its answers. Called on the server's thread; each reply is called once, on any.
public protocol ControlBackend: Sendable {
    /// The helper's state.
    func status(_ reply: @escaping @Sendable (StatusReport) -> Void)
    /// All listeners.
    func ports(_ reply: @escaping @Sendable ([PortReport]) -> Void)
    /// All flows.
    func flows(_ reply: @escaping @Sendable ([FlowReport]) -> Void)
}

/// A control socket that cannot be used, or a helper that does not answer.
public struct ControlError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Whether simply no helper runs there.
    public let isNotRunning: Bool
    /// In words, with what to do.
    public let description: String

    init(_ description: String, isNotRunning: Bool = false) {
        self.description = description
        self.isNotRunning = isNotRunning
    }
}

/// Serves the control API over a Unix socket: HTTP, JSON, read-only.
///
/// The socket has mode 0600 in a folder that others cannot write (``SocketFolder``); whoever can connect is
/// this user or root.
/// While there is no descriptor for one more connection it is tried again every second.
public final class ControlServer: Sendable {
    /// How long a connection may be silent.
    private static let patience = TimeAmount.seconds(5)

    private let path: String
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel

    /// Serves at `path` from now on, after making sure that the place is safe and free.
    ///
    /// - Throws: ``ControlError``, which says what is in the way.
    public init(path: String, backend: any ControlBackend) throws(ControlError) {
        do {
            try SocketFolder.prepare(for: path)
        } catch {
            throw ControlError(error.description)
        }
        self.path = path
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        channel = try SocketFolder.claiming(path) { [group] () throws(ControlError) in
            try Self.removeStale(path)
            return try Self.bind(path, group, backend)
        }
    }

    private static func bind(
        _ path: String, _ group: MultiThreadedEventLoopGroup, _ backend: any ControlBackend
    ) throws(ControlError) -> any Channel {
        let visitors = NIOLoopBoundBox.makeBoxSendingValue(Visitors(), eventLoop: group.next())
        let line = NIOLoopBoundBox.makeBoxSendingValue(WaitingLine(), eventLoop: group.next())
        do {
            let channel = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 128)
                // Who has sent all that it will is answered nevertheless.
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        Self.admit(channel, visitors)
                        try Self.serve(channel, backend, line)
                    }
                }
                .bind(unixDomainSocketPath: path).wait()
            try SystemFiles.setMode(0o600, of: path)
            return channel
        } catch {
            throw ControlError("\(path) cannot be served: \(error)")
        }
    }

    private static func removeStale(_ path: String) throws(ControlError) {
        do {
            try Socket.removeStaleUnix(path)
        } catch  where error.isAddressInUse {
            throw ControlError("another helper is running at \(path)")
        } catch  where error.isOccupied {
            throw ControlError("\(path) is in the way: it is not a socket of ours")
        } catch {
            throw ControlError("\(path) cannot be served: \(error)")
        }
    }

    private static func admit(_ channel: any Channel, _ visitors: NIOLoopBoundBox<Visitors>) {
        visitors.value.admit(channel)?.close(promise: nil)
        channel.closeFuture.whenComplete { _ in visitors.value.remove(channel) }
    }

    private static func serve(
        _ channel: any Channel, _ backend: any ControlBackend, _ line: NIOLoopBoundBox<WaitingLine>
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(IdleStateHandler(allTimeout: patience))
        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
        try pipeline.addHandler(ControlHandler(backend, line))
    }

    /// Stops serving, and removes the socket. Blocks until both are done.
    public func stop() {
        // In this order: a helper that starts meanwhile makes a socket of its own at the path.
        SystemFiles.remove(path)
        try? channel.close().wait()
    }
}

/// The connections that are open, the oldest first. So many at most that they fit within the descriptors that
/// flows and mirrors leave to the rest.
private struct Visitors {
    private static let most = 32
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
