internal import Addresses
internal import EventLoop
internal import Posix
internal import Sockets

/// Accepts connections at a tunnel address.
final class Listening {
    private var socket: Socket?
    private var poller: Poller?
    private let accepted: (consuming Socket) -> Void

    /// Starts listening.
    ///
    /// - Parameter claim: Told the inode of a TCP socket before it listens.
    /// - Throws: ``SystemError``, ``LoopError``.
    init(
        loop: Loop, uri: TunnelURI, claim: (UInt64) -> Void,
        accepted: @escaping (consuming Socket) -> Void
    ) throws {
        self.accepted = accepted
        socket = try Self.listen(uri, claim)
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: loop, descriptor: descriptor) { [unowned self] _ in ready() }
        poller?.watch(.readable)
    }

    private static func listen(
        _ uri: TunnelURI, _ claim: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        switch uri {
        case .unix(let path): return try Socket.listenUnix(path)
        case .vsock(_, let port): return try Socket.listenVsock(port: port)
        case .firecracker: return try Socket.listenUnix(uri.socketPath ?? "")
        case .tcp(let endpoint):
            let socket = try Socket.boundTCP(to: endpoint, isV6Only: true)
            claim(try socket.inode())
            try socket.listenForConnections()
            return socket
        }
    }

    private func ready() {
        // Any failure to accept is tried again at the next readiness, which is level-triggered.
        while socket != nil, let connection = try? socket!.accept() {
            accepted(connection)
        }
    }

    func close() {
        poller?.close()
        socket = nil
    }
}
