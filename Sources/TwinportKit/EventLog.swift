internal import EventLoop
internal import Posix
internal import TwinportModel

/// The events of one node: numbers them, keeps the last, and hands them to subscribers. Any thread subscribes;
/// events are added on the data loop's thread.
final class EventLog: Sendable {
    /// How many events a late subscriber can still get.
    static let kept = 1_024

    typealias Handler = @Sendable (Event) -> Void

    private struct State {
        var next: UInt64 = 1
        var history: [Event] = []
        /// Where the oldest is, once the history is full.
        var start = 0
        var subscribers: [UInt64: Handler] = [:]
        var nextSubscriber: UInt64 = 1
    }

    private let state = Locked(State())

    /// Adds an event and tells every subscriber.
    func add(_ kind: Event.Kind) {
        // Under the lock, so that each subscriber gets events in order.
        state.withLock { state in
            let event = Event(sequence: state.next, time: ThisMachine.wallClock, kind: kind)
            state.next += 1
            if state.history.count < Self.kept {
                state.history.append(event)
            } else {
                state.history[state.start] = event
                state.start = (state.start + 1) % Self.kept
            }
            for handler in state.subscribers.values { handler(event) }
        }
    }

    /// Subscribes, and hands over what is kept of the events after `sequence`.
    ///
    /// - Returns: A number to unsubscribe with.
    func subscribe(after sequence: UInt64?, _ handler: @escaping Handler) -> UInt64 {
        state.withLock { state in
            if let sequence {
                let ordered = state.history[state.start...] + state.history[..<state.start]
                for event in ordered where event.sequence > sequence { handler(event) }
            }
            let number = state.nextSubscriber
            state.nextSubscriber += 1
            state.subscribers[number] = handler
            return number
        }
    }

    func unsubscribe(_ number: UInt64) {
        // Released outside of the lock: a handler may own anything.
        let handler = state.withLock { $0.subscribers.removeValue(forKey: number) }
        withExtendedLifetime(handler) {}
    }
}
