internal import EventLoop
internal import Posix
public import TwinportModel

/// One machine's part in host networking: it watches what listens here, mirrors what listens on the other
/// machine, and carries the traffic, through one tunnel.
///
/// A desktop program embeds a node with the role `Role.host` for each VM; what runs in the VM is a node with
/// the role `Role.guest` (`twinport-agent` is one). The two need one reliable, ordered byte stream between
/// them: an address that one listens on and the other dials (``NodeTunnel/opened(_:key:)``), or a connected socket
/// that the embedder already holds and hands in with ``adopt(_:)``, as Virtualization.framework's
/// `VZVirtioSocketConnection.fileDescriptor` or a VMM's own vsock.
///
/// ```swift
/// let node = Node(.init(role: .host))
/// try node.start()
/// try node.adopt(descriptor)
/// for port in try node.ports() { print(port.listener, port.state) }
/// node.stop()
/// ```
///
/// A node has two threads of its own, which inherit the network namespace and the privileges of the thread that
/// calls ``start()``. It changes nothing of the process: no signal handler, no limit, no file, no sandbox. The
/// embedder ignores SIGPIPE if it writes to pipes of its own; a node's sockets never raise it.
///
/// All methods may be called from any thread but the ones that call an event's or a reply's handler.
public final class Node: Sendable {
    private enum State {
        case idle
        case starting
        case running(Mailbox<NodeCommand>)
        case stopped
    }

    private let configuration: NodeConfiguration
    private let log = EventLog()
    private let state = Locked(State.idle)
    /// Fulfilled when the loop has ended: true if the kernel still holds one of its threads, so that exit(3) would wait.
    private let finished = Latch<Bool>()

    /// Describes a node; nothing happens before ``start()``.
    public init(_ configuration: NodeConfiguration) {
        self.configuration = configuration
    }

    deinit {
        if case .running(let mailbox) = state.withLock({ $0 }) { mailbox.send(.stop) }
    }

    /// Opens the tunnel and starts mirroring. Returns when the tunnel listens, or dials; the first session may
    /// take longer.
    ///
    /// - Throws: ``NodeError``: the tunnel's address cannot be used, a key is missing, or descriptors or threads
    ///   have run out. A node that failed to start does not run, and cannot be started again.
    public func start() throws(NodeError) {
        let isIdle = state.withLock { state in
            guard case .idle = state else { return false }
            state = .starting
            return true
        }
        guard isIdle else { throw .notRunning }
        do {
            try launch()
        } catch {
            state.withLock { $0 = .stopped }
            throw error
        }
    }

    private func launch() throws(NodeError) {
        let started = Latch<Result<Mailbox<NodeCommand>, NodeError>>()
        do {
            try LoopThread.start(named: "data-loop") { [configuration, log, finished] in
                Self.run(configuration, log, started, finished)
            }
        } catch {
            throw NodeError(error)
        }
        let mailbox = try started.wait().get()
        let isWanted = state.withLock { state in
            guard case .starting = state else { return false }
            state = .running(mailbox)
            return true
        }
        // Stopped while it started.
        if !isWanted { mailbox.send(.stop) }
    }

    /// The data loop's thread.
    private static func run(
        _ configuration: NodeConfiguration, _ log: EventLog,
        _ started: Latch<Result<Mailbox<NodeCommand>, NodeError>>, _ finished: Latch<Bool>
    ) {
        do throws(NodeError) {
            let loop = try make(configuration, log)
            try loop.start()
            if let commands = loop.commands { started.fulfil(.success(commands)) }
            finished.fulfil(loop.run())
        } catch {
            started.fulfil(.failure(error))
            finished.fulfil(false)
        }
    }

    private static func make(
        _ configuration: NodeConfiguration, _ log: EventLog
    ) throws(NodeError) -> NodeLoop {
        do {
            return try NodeLoop.make(configuration, log)
        } catch {
            throw NodeError(error)
        }
    }

    /// Ends all flows, closes all mirrors and the tunnel, and waits until that is done. A node that was stopped
    /// stays stopped.
    ///
    /// - Returns: Whether the process may end as usual: false when the kernel still holds a thread of the loop's
    ///   in a call that cannot be taken back.
    @discardableResult
    public func stop() -> Bool {
        let mailbox: Mailbox<NodeCommand>? = state.withLock { state in
            defer { state = .stopped }
            if case .running(let mailbox) = state { return mailbox }
            return nil
        }
        guard let mailbox else { return true }
        mailbox.send(.stop)
        return !finished.wait()
    }

    // MARK: Changes

    /// Takes over a connected stream socket and greets the other end over it. The path is taken for private: the
    /// peer is not checked, and nothing is encrypted. Works with every ``NodeTunnel``.
    ///
    /// - Parameter descriptor: The node's from now on: its number is closed before this returns. If an object owns it
    ///   and would close it, too, pass a duplicate (`dup(2)`).
    /// - Throws: ``NodeError/badDescriptor(_:)`` when it is not a connected stream socket: the descriptor is then still
    ///   the caller's.
    public func adopt(_ descriptor: Int32) throws(NodeError) {
        if let error = try ask({ .adopt(descriptor, $0) }) { throw error }
    }

    /// Applies another policy, and another way of watching, at once. Flows of a direction that is switched off are
    /// reset; a host tells its guest.
    public func update(policy: MirrorPolicy, watch: WatchOptions) throws(NodeError) {
        try send(.update(policy, watch))
    }

    /// Moves the tunnel to another place, or to another key. The session ends, and begins anew there.
    ///
    /// - Returns: False when it is there already, with this key: nothing happened.
    /// - Throws: ``NodeError``: the new tunnel cannot be opened; the old one is then still there.
    @discardableResult
    public func move(to tunnel: NodeTunnel) throws(NodeError) -> Bool {
        let outcome: Result<Bool, NodeError> = try ask { .move(tunnel, $0) }
        return try outcome.get()
    }

    // MARK: Snapshots

    /// All listeners of both machines, as far as they are known here. Blocks until the data loop answers.
    public func ports() throws(NodeError) -> [PortSnapshot] {
        try ask { .ports($0) }
    }

    /// All flows. Blocks until the data loop answers.
    public func flows() throws(NodeError) -> [FlowSnapshot] {
        try ask { .flows($0) }
    }

    /// The session, and sums. Blocks until the data loop answers.
    public func status() throws(NodeError) -> NodeStatus {
        try ask { .status($0) }
    }

    /// The same without blocking: `reply` is called once, on the data loop's thread, and must not block it. A
    /// node that is stopped meanwhile does not answer.
    public func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void) throws(NodeError) {
        try send(.ports(reply))
    }

    /// The same without blocking: `reply` is called once, on the data loop's thread, and must not block it. A
    /// node that is stopped meanwhile does not answer.
    public func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void) throws(NodeError) {
        try send(.flows(reply))
    }

    /// The same without blocking: `reply` is called once, on the data loop's thread, and must not block it. A
    /// node that is stopped meanwhile does not answer.
    public func status(_ reply: @escaping @Sendable (NodeStatus) -> Void) throws(NodeError) {
        try send(.status(reply))
    }

    // MARK: Events

    /// Calls `handler` with every event from now on, in order, on the data loop's thread. It must not block, and
    /// must not call the node: hand the event to a queue of your own.
    ///
    /// - Parameters:
    ///   - sequence: Hands over the kept events after this one first, on the calling thread; 0 for all. The last 1,024
    ///     are kept: the first one's `Event.sequence` tells whether some are missing.
    ///   - handler: Called with each event.
    /// - Returns: A number for ``unsubscribe(_:)``.
    public func subscribe(
        after sequence: UInt64? = nil, _ handler: @escaping @Sendable (Event) -> Void
    ) -> UInt64 {
        log.subscribe(after: sequence, handler)
    }

    /// Ends a subscription; its handler is not called after this returns.
    public func unsubscribe(_ number: UInt64) {
        log.unsubscribe(number)
    }

    // MARK: Plumbing

    private func send(_ command: NodeCommand) throws(NodeError) {
        let isSent = state.withLock { state in
            guard case .running(let mailbox) = state else { return false }
            return mailbox.send(command)
        }
        if !isSent { throw .notRunning }
    }

    /// Sends a command and waits for its reply.
    private func ask<Value: Sendable>(
        _ command: (@escaping @Sendable (Value) -> Void) -> NodeCommand
    ) throws(NodeError) -> Value {
        let latch = Latch<Result<Value, NodeError>>()
        try send(command(Self.reply(to: latch)))
        return try latch.wait().get()
    }

    private static func reply<Value: Sendable>(
        to latch: Latch<Result<Value, NodeError>>
    ) -> @Sendable (Value) -> Void {
        let reply = Reply(latch)
        return { reply.latch.fulfil(.success($0)) }
    }
}

/// Fulfils its latch with `notRunning` when a command is released without a reply.
private final class Reply<Value: Sendable>: Sendable {
    let latch: Latch<Result<Value, NodeError>>

    init(_ latch: Latch<Result<Value, NodeError>>) {
        self.latch = latch
    }

    deinit { latch.fulfil(.failure(.notRunning)) }
}
