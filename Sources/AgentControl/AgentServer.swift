internal import EventLoop
package import Posix
internal import Sockets

/// The agent's local socket, and the thread that serves it.
///
/// The socket has mode 0600 in a folder that others cannot write (``SocketFolder``); only root and the agent's own user
/// are answered. Call ``init(path:)`` before the sandbox is entered; the kernel keeps clients waiting until
/// ``start(answer:)``.
package final class AgentServer: Sendable {
    private let path: String
    fileprivate let listener: Socket
    private let place: Locked<Place?>

    /// What is the server's until it stops.
    private struct Place {
        let claim: PathClaim
        var file: FileIdentity?
    }

    /// Makes the socket. One that a dead agent left is replaced.
    ///
    /// - Throws: ``AgentControlError``, which says what is in the way.
    package init(path: String) throws(AgentControlError) {
        do {
            try SocketFolder.prepare(for: path)
        } catch {
            throw AgentControlError(error.description)
        }
        self.path = path
        do {
            let claim = try PathClaim(path)
            listener = try Socket.listenUnix(path)
            place = Locked(Place(claim: claim, file: SystemFiles.identity(of: path)))
        } catch  where error.isAddressInUse {
            throw AgentControlError("another agent answers at \(path)")
        } catch  where error.isOccupied {
            throw AgentControlError("\(path) is in the way: it is not a socket of ours")
        } catch {
            throw AgentControlError("\(path) cannot be made: \(error)")
        }
    }

    /// Answers from now on, on a thread of its own, which ends after ``stop()``.
    ///
    /// - Parameter answer: Called on that thread with each question's line. It may block; others wait then.
    /// - Throws: ``SystemError`` when the kernel refuses another thread.
    package func start(
        answer: @escaping @Sendable (String) -> Answer
    ) throws(SystemError) {
        try LoopThread.start(named: "control") { [self] in
            let turns = Turns(self, answer)
            while !isStopped { turns.turn() }
        }
    }

    /// Removes the socket, and ends the thread. The second time nothing happens: the path may be another agent's by then.
    package func stop() {
        let isFirst = place.withLock { place in
            defer { place = nil }
            Socket.removeUnix(path, ifStill: place?.file)
            return place != nil
        }
        if isFirst { listener.shutdownBoth() }
    }

    private var isStopped: Bool { place.withLock { $0 == nil } }

    /// Makes the socket again if another program removed it.
    ///
    /// - Returns: The new one; nil when there is nothing to do, or nothing to be done now.
    fileprivate func renewed() -> Socket? {
        let current = SystemFiles.identity(of: path)
        guard place.withLock({ $0 != nil && $0?.file != current }) else { return nil }
        let socket: Socket
        do {
            try SocketFolder.prepare(for: path)
            socket = try Socket.listenUnix(path)
        } catch {
            // Another program's file is in the way, or the folder is not ours any more: tried again.
            return nil
        }
        let made = SystemFiles.identity(of: path)
        let isStopped = place.withLock { place in
            place?.file = made
            return place == nil
        }
        if isStopped { Socket.removeUnix(path, ifStill: made) }
        return socket
    }
}

/// The server's thread and all connections, turn by turn. A visitor waits for another one only while that one's question
/// is being answered.
private final class Turns {
    private static let most = 8
    private static let second: UInt64 = 1_000_000_000

    private let server: AgentServer
    private let answer: (String) -> Answer
    /// The oldest first.
    private var visitors: [Visitor] = []
    /// Accepting failed, for want of descriptors: when to try again.
    private var pausedUntil: UInt64 = 0
    /// The socket that took the place of one that was removed. The first one stays: its shutdown is the end.
    private var successor: Socket?

    init(_ server: AgentServer, _ answer: @escaping (String) -> Answer) {
        self.server = server
        self.answer = answer
    }

    /// Waits until something can be done, and does it.
    func turn() {
        if let socket = server.renewed() { successor = consume socket }
        let isPaused = pausedUntil > Loop.nanoseconds
        var awaited = visitors.map(\.awaited)
        if !isPaused { awaited += listeners }
        AwaitedSocket.wait(for: &awaited, atMost: patience(isPaused))
        for (visitor, socket) in zip(visitors, awaited) where socket.isReady {
            visitor.proceed(answer)
        }
        if !isPaused, awaited.dropFirst(visitors.count).contains(where: \.isReady) { accept() }
        dismiss()
    }

    private var listeners: [AwaitedSocket] {
        var all = [AwaitedSocket(server.listener)]
        if successor != nil { all.append(AwaitedSocket(successor!)) }
        return all
    }

    private func dismiss() {
        let now = Loop.nanoseconds
        let isDone: (Visitor) -> Bool = { $0.isOver || $0.deadline <= now }
        let wereLarge = visitors.contains { isDone($0) && $0.isAnswerLarge }
        visitors.removeAll(where: isDone)
        // A table of thousands of ports is made once in a while; the agent must not stay that large.
        if wereLarge { Memory.returnFreed() }
    }

    /// How many milliseconds until something is due: twice a second whether the socket is still there.
    private func patience(_ isPaused: Bool) -> Int32 {
        let now = Loop.nanoseconds
        let look = now + Self.second / 2
        let dates = visitors.map(\.deadline) + (isPaused ? [pausedUntil] : [])
        let next = min(dates.min() ?? look, look)
        return next <= now ? 0 : Int32((next - now) / 1_000_000 + 1)
    }

    private func accept() {
        do {
            if let socket = try server.listener.accept() { admit(socket) }
            if successor != nil, let socket = try successor!.accept() { admit(socket) }
        } catch {
            pausedUntil = Loop.nanoseconds + Self.second
        }
    }

    private func admit(_ socket: consuming Socket) {
        // The oldest gives way.
        if visitors.count == Self.most { visitors.removeFirst() }
        visitors.append(Visitor(socket))
    }
}
