internal import Addresses
public import EventLoop
internal import Sockets

// # The watcher
//
// A thread with a loop of its own, so that a machine with 100,000 sockets never delays a byte of data.
//
//     timer ─┬─▶ scan ─▶ a listener would be lost? look once more ─▶ differences ─▶ deliver
//     hints ─┘                                                          └─▶ owners, twice a second
//
// The interval adapts: 20 ms for a second after a change, 50 ms for four more, 100 ms on a quiet machine. (At
// 50 ms an idle machine would pay 0.6 % of a core here; at 100 ms half of that, and a listener is still
// noticed after 50 ms in the middle.) Hints do not replace it, they come on top, at most one scan every
// 5 ms.

/// Watches what listens on this machine (in this network namespace) and delivers the differences.
public final class ListenerWatcher: Sendable {
    private let own: OwnSockets
    private let deliver: @Sendable (ListenerChanges) -> Void
    private let state: Guarded<State>

    private struct State: Sendable {
        var options: WatchOptions
        var mailbox: Mailbox<WatchCommand>?
        var isStopped = false
    }

    /// Prepares a watcher.
    ///
    /// - Parameters:
    ///   - own: Inodes that are never listeners.
    ///   - deliver: Called on the watcher's thread.
    public init(
        own: OwnSockets, options: WatchOptions,
        deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) {
        self.own = own
        self.deliver = deliver
        state = Guarded(State(options: options))
    }

    /// Starts the thread.
    ///
    /// - Throws: ``LoopError`` when the kernel refuses a thread.
    public func start() throws(LoopError) {
        try LoopThread.start { [self] in
            // A loop that cannot be made means that descriptors or memory are out at start.
            guard let loop = try? Loop() else { return }
            run(loop)
            loop.close()
        }
    }

    private func run(_ loop: Loop) {
        let options = state.withLock { $0.options }
        let worker = WatchWorker(loop: loop, own: own, options: options, deliver: deliver)
        let mailbox = try? Mailbox<WatchCommand>(loop: loop) { commands in
            for command in commands { worker.perform(command) }
        }
        guard let mailbox, worker.start() else { return }
        let isStopped = state.withLock { state in
            state.mailbox = mailbox
            if state.options != options { mailbox.send(.reconfigure(state.options)) }
            return state.isStopped
        }
        if !isStopped { loop.run() }
        worker.close()
        mailbox.close()
    }

    /// Watches in another way from now on. Any thread.
    public func reconfigure(_ options: WatchOptions) {
        state.withLock { state in
            guard state.options != options else { return }
            state.options = options
            state.mailbox?.send(.reconfigure(options))
        }
    }

    /// Ends the thread, soon. Any thread.
    public func stop() {
        state.withLock { state in
            state.isStopped = true
            state.mailbox?.send(.stop)
        }
    }
}

/// What other threads ask of the watcher.
enum WatchCommand: Sendable {
    case reconfigure(WatchOptions)
    case stop
}
