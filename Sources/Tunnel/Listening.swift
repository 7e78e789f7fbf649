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
    /// - Throws: ``TunnelEndpoint/CannotListen``, ``LoopError``.
    init(
        loop: Loop, uri: TunnelURI, claim: (UInt64) -> Void,
        accepted: @escaping (consuming Socket) -> Void
    ) throws {
        self.accepted = accepted
        do {
            socket = try Self.listen(uri, claim)
        } catch {
            throw TunnelEndpoint.CannotListen(uri: uri, cause: error)
        }
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: loop, descriptor: descriptor) { [unowned self] _ in ready() }
        poller?.watch(.readable)
    }

    private static func listen(_ uri: TunnelURI, _ claim: (UInt64) -> Void) throws -> Socket {
        switch uri {
        case .unix(let path): return try listenUnix(path)
        case .firecracker: return try listenUnix(uri.socketPath ?? "")
        case .vsock(_, let port): return try Socket.listenVsock(port: port)
        case .tcp(let endpoint):
            let socket = try Socket.boundTCP(to: endpoint, isV6Only: true)
            claim(try socket.inode())
            try socket.listenForConnections()
            return socket
        }
    }

    private static func listenUnix(_ path: String) throws -> Socket {
        try SocketFolder.prepare(for: path)
        return try Socket.listenUnix(path)
    }

    /// How many connections one readiness may take before other sockets get their turn.
    private static let acceptsPerTurn = 16

    private func ready() {
        do {
            for _ in 0..<Self.acceptsPerTurn {
                guard socket != nil, let connection = try socket!.accept() else { return }
                accepted(connection)
            }
        } catch {
            // Out of descriptors, as a rule. The connection still waits, and readiness would be reported
            // without end: ``resume()`` tries again.
            poller?.watch([])
        }
    }

    /// Accepts again after a failure; to be called every now and then.
    func resume() {
        poller?.watch(.readable)
    }

    func close() {
        poller?.close()
        socket = nil
    }
}
