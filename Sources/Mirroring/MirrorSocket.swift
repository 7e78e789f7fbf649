internal import Addresses
internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets

/// One bound socket of a mirror. Loop thread only.
protocol MirrorSocket: AnyObject {
    var planned: PlannedSocket { get }
    /// Stops or resumes taking connections while descriptors are short. UDP needs none and ignores it.
    func pause(_ isPaused: Bool)
    /// Closes at once. Established TCP flows live on.
    func close()
}

/// A TCP mirror: accepts, and hands each connection to its entry's flow.
final class TCPMirror: MirrorSocket {
    let planned: PlannedSocket
    private unowned let entry: MirrorEntry
    private unowned let side: Side
    private var socket: Socket?
    private var poller: Poller?
    private let inode: UInt64
    /// How many connections one readiness may take before other sockets get their turn.
    private static let acceptsPerTurn = 64

    /// Binds and listens.
    ///
    /// - Throws: ``SystemError``, ``LoopError``.
    init(side: Side, entry: MirrorEntry, planned: PlannedSocket) throws {
        self.side = side
        self.entry = entry
        self.planned = planned
        let socket = try Socket.boundTCP(to: planned.endpoint, isV6Only: planned.isV6Only)
        guard !side.isReserved(socket.descriptor) else {
            throw SystemError.noDescriptor(for: "bind")
        }
        inode = try socket.inode()
        // For the connections it accepts; see TCPFlow.
        socket.resetOnClose()
        // Before listen(2), and so before /proc/net lists it.
        side.own.insert(inode)
        do {
            try socket.listenForConnections()
            let descriptor = socket.descriptor
            self.socket = consume socket
            poller = try Poller(loop: side.loop, descriptor: descriptor) { [unowned self] _ in
                ready()
            }
        } catch {
            side.own.remove(inode)
            throw error
        }
        if !side.isAcceptPaused { poller?.watch(.readable) }
    }

    private func ready() {
        for _ in 0..<Self.acceptsPerTurn {
            guard socket != nil, !side.isAcceptPaused else { return }
            do {
                guard let connection = try socket!.accept() else { return }
                let isLast = side.isReserved(connection.descriptor)
                side.accepted(connection, on: self, of: entry)
                if isLast { side.pauseAccepting() }
            } catch {
                if error.isExhaustion { side.pauseAccepting() }
                return
            }
        }
    }

    func pause(_ isPaused: Bool) {
        poller?.watch(isPaused ? [] : .readable)
    }

    func close() {
        poller?.close()
        poller = nil
        guard socket != nil else { return }
        socket = nil
        side.own.remove(inode)
    }
}
