internal import EventLoop
package import Posix
package import TwinportModel

// # The watcher
//
// A thread with a loop of its own, so that reading the tables of a machine with 100,000 sockets does not stop the data
// loop. Bytes may wait for a scan, 100 ms at most: see Mirroring/Listeners/OrderGate.swift.
//
// What the thread does is split by purpose. `ListenerSource` reads the system's tables and passes its hints on;
// what is Linux's is behind it, in Linux/. `ListenerScans` turns rows into differences (`ListenerTracker`),
// `ScanPace` says when to look, `OwnerSearch` which owners to look for. The last three are pure but for the
// source they are given. `WatchWorker` joins them.
//
//     timer ─┬─▶ scan ─▶ a listener would be lost? look once more ─▶ differences ─▶ deliver
//     hints ─┘                                                          └─▶ owners, twice a second
//
// The interval adapts: 20 ms for a second after a change, 50 ms for four more, 100 ms on a quiet machine. (At
// 50 ms an idle machine would pay 0.6 % of a core here; at 100 ms half of that, and a listener is still
// noticed after 50 ms in the middle.) Hints do not replace it, they come on top, at most one scan every
// 5 ms. A question (`look`) is answered by a scan at once.

/// Watches what listens in one network namespace, and delivers the differences. Several can work in one process,
/// in the same namespace or in others.
package final class ListenerWatcher: Sendable {
    private let own: OwnSockets
    private let deliver: @Sendable (ListenerChanges) -> Void
    private let state: Locked<State>

    private struct State: Sendable {
        var options: WatchOptions
        var mailbox: Mailbox<WatchCommand>?
        var isStopped = false
        var publishedState = ""
    }

    private let opened: ListenerHints
    private let finder: FinderProcess?

    /// Prepares a watcher.
    ///
    /// - Parameters:
    ///   - own: Inodes that are never listeners.
    ///   - hints: What the kernel was asked before; nil: it is asked now.
    ///   - finder: The process that looks into others; nil: the watcher's thread does.
    ///   - deliver: Called on the watcher's thread.
    package init(
        own: OwnSockets, options: WatchOptions, hints: ListenerHints? = nil,
        finder: FinderProcess? = nil,
        deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) {
        self.own = own
        self.deliver = deliver
        opened = hints ?? .open()
        self.finder = finder
        state = Locked(State(options: options))
    }

    /// Starts the thread, which inherits the network namespace of the calling one and watches that. Sockets of the
    /// calling thread are ours, and no news.
    ///
    /// - Throws: ``SystemError`` when the kernel refuses a thread.
    package func start() throws(SystemError) {
        opened.signal?.leaveOutCaller()
        state.withLock { state in
            // Before anybody asks. The watcher says more when it has read them.
            if state.options.looksElsewhere { state.publishedState = SystemListeners.tryRules() }
        }
        try LoopThread.start(named: "watcher") { [self] in
            // Fails only when descriptors or memory have run out at the start.
            guard let loop = try? Loop() else { return }
            run(loop)
            loop.close()
        }
    }

    private func run(_ loop: Loop) {
        let options = state.withLock { $0.options }
        // It binds sockets to see what others may.
        opened.signal?.leaveOutCaller()
        // On this thread: what the source opens belongs to this thread's network namespace.
        let source = SystemListeners(signal: opened.signal, finder: finder)
        let worker = WatchWorker(
            loop: loop, source: source, own: own, options: options, deliver: deliver)
        let mailbox = try? Mailbox<WatchCommand>(loop: loop) { commands in
            for command in commands { worker.perform(command) }
        }
        worker.onPublishedState { [state] text in state.withLock { $0.publishedState = text } }
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

    /// What says at once that listeners may have changed; nil where the kernel or the settings do not allow it. Any
    /// thread.
    package var signal: (any ListenerSignal)? {
        state.withLock { $0.options.usesHints } ? opened.signal : nil
    }

    /// Whether the kernel says when listeners change. Any thread.
    package var hints: HintState {
        state.withLock { $0.options.usesHints }
            ? opened.state : .none("switched off by the settings")
    }

    /// Whether rules that publish ports can be read, and how; `none: ` and why where not, empty where nobody looked.
    /// Any thread.
    package var publishedState: String { state.withLock { $0.publishedState } }

    /// Asks for a scan that begins after this call. Its result has this question, or a later one, in its answer. Any
    /// thread.
    package func look(_ question: UInt64) {
        state.withLock { state in _ = state.mailbox?.send(.look(question)) }
    }

    /// Changes how it watches from now on. Any thread.
    package func reconfigure(_ options: WatchOptions) {
        state.withLock { state in
            guard state.options != options else { return }
            state.options = options
            state.mailbox?.send(.reconfigure(options))
        }
    }

    /// Ends the watcher's thread after its current turn. Any thread.
    package func stop() {
        state.withLock { state in
            state.isStopped = true
            state.mailbox?.send(.stop)
        }
    }
}
