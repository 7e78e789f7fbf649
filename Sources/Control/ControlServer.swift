internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Posix
internal import Sockets
internal import TwinportModel

// # The control API's server
//
// SwiftNIO, with one thread of its own. Nothing here uses Swift concurrency, and so nothing in the helper does:
// its executor on Linux is libdispatch, which opens files in /proc to look at its own threads and ends the
// program when there is no descriptor left for that. A NIO loop needs no descriptor but those that it began with.
//
//     accept → Visitors (32, the oldest gives way) → HTTP → ControlHandler → ControlBackend → data loop
//                                                               ◀─────────── reply, on any thread
//
// A connection that becomes a stream of events is a visitor no more; of those there are 8 (`EventStream.swift`).

/// Serves the control API over a Unix socket: HTTP, JSON, read-only.
///
/// The socket has mode 0600 in a folder that others cannot write (``SocketFolder``); whoever can connect is
/// this user or root.
/// While there is no descriptor for one more connection it is tried again every second.
package final class ControlServer: Sendable {
    /// How long a connection may be silent.
    private static let patience = TimeAmount.seconds(5)
    /// How often to look whether the socket is still there.
    private static let lookEvery = TimeAmount.milliseconds(500)

    private let path: String
    private let group: MultiThreadedEventLoopGroup
    private let opener: Opener
    private let place: NIOLoopBoundBox<Place?>

    /// What is the server's until it stops.
    private struct Place {
        let claim: PathClaim
        var channel: any Channel
        var file: FileIdentity?
        /// Whether it is being made again.
        var isOpening = false
    }

    /// Serves at `path` from now on, after making sure that the place is safe and free.
    ///
    /// - Parameter beat: How often a stream of events shows that it lives, in milliseconds.
    /// - Throws: ``ControlError``, which says what is in the way.
    package init(
        path: String, backend: any ControlBackend, beat: Int64 = 15_000
    ) throws(ControlError) {
        do {
            try SocketFolder.prepare(for: path)
        } catch {
            throw ControlError(error.description)
        }
        self.path = path
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        opener = Opener(group, backend, beat: .milliseconds(beat))
        let first = try SocketFolder.claiming(path) { [opener] () throws(ControlError) in
            let claim = try Self.claim(path)
            let channel = try Self.bind(path, opener)
            return Place(claim: claim, channel: channel, file: SystemFiles.identity(of: path))
        }
        place = NIOLoopBoundBox.makeBoxSendingValue(first, eventLoop: group.next())
        group.next().scheduleRepeatedTask(initialDelay: Self.lookEvery, delay: Self.lookEvery) {
            [weak self] task in
            if self?.place.value == nil { task.cancel() } else { self?.restore() }
        }
    }

    /// Opens the socket, at the start and again.
    private struct Opener: Sendable {
        let group: MultiThreadedEventLoopGroup
        let backend: any ControlBackend
        let visitors: NIOLoopBoundBox<Visitors>
        let line: NIOLoopBoundBox<WaitingLine>
        let hub: EventHub

        init(
            _ group: MultiThreadedEventLoopGroup, _ backend: any ControlBackend, beat: TimeAmount
        ) {
            self.group = group
            self.backend = backend
            visitors = NIOLoopBoundBox.makeBoxSendingValue(Visitors(), eventLoop: group.next())
            line = NIOLoopBoundBox.makeBoxSendingValue(WaitingLine(), eventLoop: group.next())
            hub = EventHub(group.next(), backend.events, beat: beat)
        }

        func bind(_ path: String) -> EventLoopFuture<any Channel> {
            ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 128)
                // A half-closed client still gets its answer.
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { [self] channel in
                    channel.eventLoop.makeCompletedFuture {
                        ControlServer.admit(channel, visitors)
                        try ControlServer.serve(channel, handler())
                    }
                }
                .bind(unixDomainSocketPath: path)
        }

        private func handler() -> ControlHandler {
            ControlHandler(backend, line, hub) { [visitors] in visitors.value.remove($0) }
        }
    }

    private static func bind(
        _ path: String, _ opener: Opener
    ) throws(ControlError) -> any Channel {
        do {
            try Socket.removeStaleUnix(path)
            let channel = try opener.bind(path).wait()
            try makePrivate(path)
            return channel
        } catch {
            throw ControlError(path, error)
        }
    }

    /// A sandbox allows no change of a mode; its umask has done it then.
    private static func makePrivate(_ path: String) throws(SystemError) {
        if SystemFiles.owner(of: path)?.mode == 0o600 { return }
        try SystemFiles.setMode(0o600, of: path)
    }

    private static func claim(_ path: String) throws(ControlError) -> PathClaim {
        do {
            return try PathClaim(path)
        } catch {
            throw ControlError(path, error)
        }
    }

    /// Makes the socket again if another program removed it. Connections that are open go on. If something is in
    /// the way, it is tried again. On the loop.
    private func restore() {
        guard let last = place.value, !last.isOpening,
            SystemFiles.identity(of: path) != last.file
        else { return }
        do {
            try SocketFolder.prepare(for: path)
            try Socket.removeStaleUnix(path)
        } catch {
            return
        }
        place.value?.isOpening = true
        // The old one first: NIO removes whatever socket is at a path when it closes that path's.
        last.channel.close().whenComplete { [path, place, opener] _ in
            opener.bind(path).whenComplete { result in
                place.value?.isOpening = false
                guard case .success(let channel) = result else { return }
                guard place.value != nil else { return channel.close(promise: nil) }
                // The umask keeps others out until then.
                try? Self.makePrivate(path)
                place.value?.channel = channel
                place.value?.file = SystemFiles.identity(of: path)
            }
        }
    }

    private static func admit(_ channel: any Channel, _ visitors: NIOLoopBoundBox<Visitors>) {
        visitors.value.admit(channel)?.close(promise: nil)
        channel.closeFuture.whenComplete { _ in visitors.value.remove(channel) }
    }

    private static func serve(_ channel: any Channel, _ handler: ControlHandler) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(IdleStateHandler(allTimeout: patience))
        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
        try pipeline.addHandler(handler)
    }

    /// Stops serving, and removes the socket. Blocks until both are done.
    package func stop() {
        let channel = try? group.next().submit { [place, path] in
            // In this order: a helper that starts meanwhile makes a socket of its own at the path.
            Socket.removeUnix(path, ifStill: place.value?.file)
            defer { place.value = nil }
            return place.value?.channel
        }.wait()
        // It is closed when its loop has ended.
        try? channel?.close().wait()
    }
}

extension ControlError {
    /// Why the socket at `path` cannot be served.
    fileprivate init(_ path: String, _ error: any Error) {
        switch error {
        case let error as SystemError where error.isAddressInUse:
            self.init("another helper is running at \(path)")
        case let error as SystemError where error.isOccupied:
            self.init("\(path) is in the way: it is not a socket of ours")
        default: self.init("\(path) cannot be served: \(PlainWords.text(error))")
        }
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
