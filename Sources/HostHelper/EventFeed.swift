internal import Control
internal import EventLoop
internal import Posix
internal import Reports

/// The helper's events: the nodes', and those of its settings, numbered in one order. Any thread.
///
/// Adding one takes a lock for the time that a copy of some events takes, and never waits for a reader.
final class EventFeed: EventSource {
    private struct State {
        var ring = EventRing(startedAt: ThisMachine.wallClock)
        var wake: (@Sendable () -> Void)?
    }

    private let state = Locked(State())

    /// Adds an event, and wakes the readers once.
    ///
    /// - Parameter guest: The guest that it is about, of several; empty: all, or the only one.
    func add(_ kind: HelperEvent.Kind, guest: String = "") {
        let wake: (@Sendable () -> Void)? = state.withLock { state in
            state.ring.add(kind, guest: guest, time: ThisMachine.wallClock)
            defer { state.wake = nil }
            return state.wake
        }
        wake?()
    }

    /// How many events of each kind there were.
    var counts: [String: UInt64] { state.withLock { $0.ring.counts } }

    var newest: UInt64 { state.withLock { $0.ring.newest } }

    func events(after number: UInt64, most: Int) -> [HelperEvent] {
        let now = ThisMachine.wallClock
        return state.withLock { $0.ring.events(after: number, most: most, now: now) }
    }

    func wake(after number: UInt64, _ wake: @escaping @Sendable () -> Void) {
        let isThere = state.withLock { state in
            if state.ring.newest > number { return true }
            state.wake = wake
            return false
        }
        if isThere { wake() }
    }
}
