internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import TwinportModel

/// A TCP mirror: accepts, and hands each connection on as a new flow. Loop thread only.
final class TCPMirror: MirrorSocket {
    /// How many connections one readiness may take before other sockets get their turn.
    private static let acceptsPerTurn = 64

    let planned: PlannedSocket
    private let resources: Resources
    private let clients: InwardFlows
    private let target: FindTarget
    private let inode: UInt64
    private var socket: Socket?
    private var poller: Poller?

    /// Binds and listens.
    init(
        _ resources: Resources, clients: InwardFlows, planned: PlannedSocket,
        target: @escaping FindTarget
    ) throws(SystemError) {
        self.resources = resources
        self.clients = clients
        self.planned = planned
        self.target = target
        let socket = try Socket.boundTCP(to: planned.endpoint, isV6Only: planned.isV6Only)
        guard !resources.isReserved(socket.descriptor) else { throw .noDescriptor(for: "bind") }
        inode = try socket.inode()
        socket.markAsMirror()
        // For the connections it accepts; see TCPFlow.
        socket.resetOnClose()
        // Before listen(2), and so before /proc/net lists it.
        resources.own.insert(inode)
        do {
            try socket.probeAccepted()
            try socket.listenForConnections()
            let descriptor = socket.descriptor
            self.socket = consume socket
            poller = try Poller(loop: resources.loop, descriptor: descriptor) {
                [unowned self] _ in
                ready()
            }
        } catch {
            resources.own.remove(inode)
            throw error
        }
        if !resources.isAcceptPaused { poller?.watch(.readable) }
    }

    private func ready() {
        for _ in 0..<Self.acceptsPerTurn {
            guard socket != nil, !resources.isAcceptPaused else { return }
            do {
                guard let connection = try socket!.accept() else { return }
                let isLast = resources.isReserved(connection.descriptor)
                clients.accepted(connection, target)
                if isLast { resources.pauseAccepting() }
            } catch {
                if error.isExhaustion { resources.pauseAccepting() }
                return
            }
        }
    }

    func pause(_ isPaused: Bool) {
        poller?.watch(isPaused ? .nothing : .readable)
    }

    func close() {
        poller?.close()
        poller = nil
        guard socket != nil else { return }
        socket = nil
        resources.own.remove(inode)
    }
}
