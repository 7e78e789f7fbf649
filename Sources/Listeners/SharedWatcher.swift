internal import EventLoop
package import Posix
package import TwinportModel

// # One watcher for several nodes
//
// A desktop with several guests has a node for each, and all of them offer the same listeners. A watcher for each would
// read the same tables as often as there are guests, and what one guest's mirrors change there would wake all of
// them. So they share one, and one set of their own sockets: no node ever takes another one's mirror for a listener.
//
//     node A ─look─┐                            ┌─▶ node A
//     node B ─look─┴▶ questions ▶ watcher ▶ changes (and what is known, for a node that comes later)
//                                               └─▶ node B
//
// Everything is handed on under one lock, so that a node that joins gets what is known and then every change after it.

/// How a node has its machine watched: by a watcher of its own, or by a seat at one that several share. Any thread.
package protocol ListenerWatching: AnyObject, Sendable {
    /// Begins to deliver.
    func start() throws(SystemError)
    /// ``ListenerWatcher/signal``.
    var signal: (any ListenerSignal)? { get }
    /// ``ListenerWatcher/hints``.
    var hints: HintState { get }
    /// ``ListenerWatcher/publishedState``.
    var publishedState: String { get }
    /// ``ListenerWatcher/look(_:)``.
    func look(_ question: UInt64)
    /// ``ListenerWatcher/reconfigure(_:)``; a seat leaves that to whoever made the watcher.
    func reconfigure(_ options: WatchOptions)
    /// Ends delivering.
    func stop()
}

extension ListenerWatcher: ListenerWatching {}

extension ListenerWatching {
    /// ``publishedState`` where rules cannot be read; empty where they can.
    package var blindness: String {
        let state = publishedState
        return state.hasPrefix("none: ") ? state : ""
    }
}

/// Watches for several nodes of a process, all in the network namespace of the thread that starts it.
package final class SharedWatcher: Sendable {
    /// The sockets of all of them.
    package let own = OwnSockets()
    private let desk: WatcherDesk
    private let watcher: ListenerWatcher
    private let opened: ListenerHints

    /// Prepares a watcher; see ``ListenerWatcher``.
    package init(options: WatchOptions, hints: ListenerHints? = nil, finder: FinderProcess? = nil) {
        let desk = WatcherDesk()
        let opened = hints ?? .open()
        self.desk = desk
        self.opened = opened
        watcher = ListenerWatcher(own: own, options: options, hints: opened, finder: finder) {
            desk.handOn($0)
        }
    }

    /// Starts the thread. What this process itself does to sockets is no news from now on.
    ///
    /// - Throws: ``SystemError`` when the kernel refuses a thread.
    package func start() throws(SystemError) {
        opened.signal?.leaveOutProcess()
        try watcher.start()
    }

    /// Changes how it watches, for all nodes.
    package func reconfigure(_ options: WatchOptions) { watcher.reconfigure(options) }

    /// Ends the thread after its current turn.
    package func stop() { watcher.stop() }

    /// A place for one node.
    ///
    /// - Parameter deliver: Called on the watcher's thread, or on the one that starts the seat. It must not block.
    package func seat(
        _ deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) -> any ListenerWatching {
        WatcherSeat(desk, watcher, deliver)
    }
}

/// A node's place at a ``SharedWatcher``.
private final class WatcherSeat: ListenerWatching {
    private let desk: WatcherDesk
    private let watcher: ListenerWatcher
    private let deliver: @Sendable (ListenerChanges) -> Void
    private let number = Locked<UInt64?>(nil)

    init(
        _ desk: WatcherDesk, _ watcher: ListenerWatcher,
        _ deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) {
        self.desk = desk
        self.watcher = watcher
        self.deliver = deliver
    }

    func start() {
        let taken = desk.join(deliver)
        number.withLock { $0 = taken }
    }

    var signal: (any ListenerSignal)? { watcher.signal }
    var hints: HintState { watcher.hints }
    var publishedState: String { watcher.publishedState }

    func look(_ question: UInt64) {
        guard let number = number.withLock({ $0 }) else { return }
        desk.ask(number, question) { [watcher] in watcher.look($0) }
    }

    func reconfigure(_ options: WatchOptions) {}

    func stop() {
        let taken = number.withLock { number in
            defer { number = nil }
            return number
        }
        if let taken { desk.leave(taken) }
    }
}

/// What a ``SharedWatcher`` knows, and who wants to know it. Any thread.
final class WatcherDesk: Sendable {
    typealias Deliver = @Sendable (ListenerChanges) -> Void

    private struct State {
        var known: [ListenerKey: Listener] = [:]
        /// Whether the first scan is in.
        var isComplete = false
        var seats: [UInt64: Seat] = [:]
        var lastSeat: UInt64 = 0
        var lastQuestion: UInt64 = 0
    }

    private struct Seat {
        let deliver: Deliver
        /// Its questions that wait, by the numbers that the watcher has for them.
        var asked: [(shared: UInt64, own: UInt64)] = []
        var answered: UInt64 = 0

        /// What a scan says, with this seat's number of the question that it answers.
        mutating func own(_ changes: ListenerChanges) -> ListenerChanges {
            guard let answer = changes.answer else { return changes }
            let isOwn = asked.first.map { $0.shared <= answer.question } ?? false
            while let first = asked.first, first.shared <= answer.question {
                answered = first.own
                asked.removeFirst()
            }
            var mine = changes
            mine.answer?.question = answered
            // Scans that others ask for are not on this one's account.
            if !isOwn { mine.answer?.microseconds = 0 }
            return mine
        }
    }

    private let state = Locked(State())

    /// Takes a seat, which gets what is known first.
    func join(_ deliver: @escaping Deliver) -> UInt64 {
        state.withLock { state in
            state.lastSeat += 1
            state.seats[state.lastSeat] = Seat(deliver: deliver)
            if state.isComplete {
                let known = state.known.values.map { ListenerChange.appeared($0) }
                deliver(ListenerChanges(changes: known, isFirst: true))
            }
            return state.lastSeat
        }
    }

    func leave(_ seat: UInt64) {
        // Released outside of the lock: what it delivers to may own anything.
        let left = state.withLock { $0.seats.removeValue(forKey: seat)?.deliver }
        withExtendedLifetime(left) {}
    }

    /// Passes a seat's question on, in the order of the numbers that questions get here.
    func ask(_ seat: UInt64, _ question: UInt64, _ look: @Sendable (UInt64) -> Void) {
        state.withLock { state in
            guard state.seats[seat] != nil else { return }
            state.lastQuestion += 1
            state.seats[seat]?.asked.append((state.lastQuestion, question))
            look(state.lastQuestion)
        }
    }

    /// Takes note of what the watcher saw, and tells all seats.
    func handOn(_ changes: ListenerChanges) {
        state.withLock { state in
            if changes.isFirst { state.isComplete = true }
            for change in changes.changes {
                switch change {
                case .appeared(let listener), .updated(let listener):
                    state.known[change.key] = listener
                case .vanished(let key): state.known[key] = nil
                }
            }
            for number in Array(state.seats.keys) {
                guard var seat = state.seats[number] else { continue }
                let mine = seat.own(changes)
                state.seats[number] = seat
                seat.deliver(mine)
            }
        }
    }
}
