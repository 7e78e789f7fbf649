internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import TwinportModel

/// The socket of a TCP mirror, or of a forward, to which programs connect: accepts, and hands each connection on. Loop
/// thread only.
final class ConnectionListener {
    /// How many connections one readiness may take before other sockets get their turn.
    private static let acceptsPerTurn = 64

    private let resources: Resources
    /// Of a Unix socket: its path, and the file that was made there.
    let file: (path: String, identity: FileIdentity)?
    private let inode: UInt64
    private var socket: Socket?
    private var poller: Poller?
    /// Called with each connection.
    var accepted: (consuming Socket) -> Void = { _ in }

    /// Takes over a Unix socket that listens.
    init(
        _ resources: Resources, _ socket: consuming Socket, at path: String, _ file: FileIdentity
    ) throws(SystemError) {
        self.resources = resources
        self.file = (path, file)
        inode = 0
        self.socket = consume socket
        try watch()
    }

    /// Listens at an address.
    ///
    /// - Parameter isV6Only: For `[::]`: whether IPv4 clients are refused.
    init(
        _ resources: Resources, _ endpoint: Endpoint, isV6Only: Bool = false
    ) throws(SystemError) {
        self.resources = resources
        file = nil
        let socket = try Socket.boundTCP(to: endpoint, isV6Only: isV6Only)
        guard !resources.isReserved(socket.descriptor) else { throw .noDescriptor(for: "bind") }
        inode = try socket.inode()
        socket.markAsMirror()
        // For the connections that it accepts; see TCPFlow.
        socket.resetOnClose()
        // Before listen(2), and so before /proc/net lists it.
        resources.own.insert(inode)
        do {
            try socket.probeAccepted()
            try socket.listenForConnections()
            self.socket = consume socket
            try watch()
        } catch {
            resources.own.remove(inode)
            throw error
        }
    }

    private func watch() throws(SystemError) {
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: resources.loop, descriptor: descriptor) { [unowned self] _ in
            ready()
        }
        if !resources.isAcceptPaused { poller?.watch(.readable) }
    }

    private func ready() {
        for _ in 0..<Self.acceptsPerTurn {
            guard socket != nil, !resources.isAcceptPaused else { return }
            do {
                guard let connection = try socket!.accept() else { return }
                let isLast = resources.isReserved(connection.descriptor)
                accepted(connection)
                if isLast { resources.pauseAccepting() }
            } catch {
                if error.isExhaustion { resources.pauseAccepting() }
                return
            }
        }
    }

    /// Stops or resumes taking connections while descriptors are short.
    func pause(_ isPaused: Bool) {
        poller?.watch(isPaused ? .nothing : .readable)
    }

    /// Closes at once. Connections live on.
    func close() {
        poller?.close()
        poller = nil
        guard socket != nil else { return }
        socket = nil
        if inode != 0 { resources.own.remove(inode) }
    }
}
