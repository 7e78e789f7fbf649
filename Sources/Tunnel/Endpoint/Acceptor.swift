internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Accepts connections at a tunnel address.
final class Acceptor {
    /// Where it listens.
    let uri: TunnelURI
    private var socket: Socket?
    private var poller: Poller?
    /// The claim on a Unix socket's path, and the file that was made there.
    private var claim: PathClaim?
    private var file: FileIdentity?
    private let loop: Loop
    private let accepted: (consuming Socket) -> Void

    /// Starts listening.
    ///
    /// - Parameter claim: Told the inode of a TCP socket before it listens.
    init(
        loop: Loop, uri: TunnelURI, claim: (UInt64) -> Void,
        accepted: @escaping (consuming Socket) -> Void
    ) throws(TunnelError) {
        self.uri = uri
        self.loop = loop
        self.accepted = accepted
        if let path = uri.socketPath {
            try Self.prepare(path, uri)
            do {
                self.claim = try PathClaim(path)
            } catch {
                throw .cannotListen(uri, error)
            }
        }
        do {
            try take(try Self.listen(uri, claim))
        } catch {
            throw .cannotListen(uri, error)
        }
    }

    private static func prepare(_ path: String, _ uri: TunnelURI) throws(TunnelError) {
        do {
            try SocketFolder.prepare(for: path)
        } catch {
            throw .badFolder(uri, error)
        }
    }

    /// Accepts at a socket that listens from now on.
    private func take(_ new: consuming Socket) throws(SystemError) {
        let watch = try Poller(loop: loop, descriptor: new.descriptor) { [unowned self] _ in
            ready()
        }
        poller?.close()
        socket = consume new
        poller = watch
        file = uri.socketPath.flatMap(SystemFiles.identity)
        watch.watch(.readable)
    }

    /// How long a connection over TCP may say nothing before it is handed over nevertheless, in seconds.
    private static let firstMessageWithin: Int32 = 5

    private static func listen(
        _ uri: TunnelURI, _ claim: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        switch uri {
        case .unix, .firecracker: return try Socket.listenUnix(uri.socketPath ?? "")
        case .vsock(_, let port): return try Socket.listenVsock(port: port)
        case .tcp(let endpoint):
            let socket = try Socket.boundTCP(to: endpoint, isV6Only: true)
            claim(try socket.inode())
            socket.deferAccepting(seconds: firstMessageWithin)
            try socket.listenForConnections()
            return socket
        }
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
            poller?.watch(.nothing)
        }
    }

    /// Accepts again after a failure, and makes a Unix socket again that another program removed; to be called
    /// every now and then.
    func resume() throws(TunnelError) {
        poller?.watch(.readable)
        guard let path = uri.socketPath, SystemFiles.identity(of: path) != file else { return }
        try Self.prepare(path, uri)
        do {
            let new = try Socket.listenUnix(path, waits: false)
            // Those that found the old one before it lost its name.
            ready()
            try take(new)
        } catch {
            throw .cannotListen(uri, error)
        }
    }

    func close() {
        // The file before the listener: a program that finds nobody listening removes the file and puts its
        // own there.
        if let path = uri.socketPath { Socket.removeUnix(path, ifStill: file) }
        claim = nil
        poller?.close()
        socket = nil
    }
}
