internal import NIOCore
internal import NIOPosix

/// Accepts connections and joins each to one of its own to the target.
struct Forwarder: Sendable {
    private let target: SocketAddress
    private let loops = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)

    init(to target: SocketAddress) {
        self.target = target
    }

    /// Starts listening, and returns the listener.
    func listen(on place: SocketAddress) async throws -> any Channel {
        var bootstrap = ServerBootstrap(group: loops)
            .serverChannelOption(.backlog, value: 4_096)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            // Reading starts when there is someone to give it to.
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { accepted in join(accepted) }
        if place.isTCP {
            bootstrap =
                bootstrap
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        }
        return try await bootstrap.bind(to: place).get()
    }

    /// Dials the target on the loop of the accepted connection, so that the two handlers share a thread.
    private func join(_ accepted: any Channel) -> EventLoopFuture<Void> {
        var bootstrap = ClientBootstrap(group: accepted.eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: false)
        if target.isTCP {
            bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        }
        return bootstrap.connect(to: target).flatMapThrowing { dialled in
            let near = Glue(accepted)
            let far = Glue(dialled)
            near.other = far
            far.other = near
            try dialled.pipeline.syncOperations.addHandler(far)
            try accepted.pipeline.syncOperations.addHandler(near)
        }
    }
}

extension SocketAddress {
    fileprivate var isTCP: Bool {
        if case .unixDomainSocket = self { false } else { true }
    }
}
