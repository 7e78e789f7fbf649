internal import Control
internal import EventLoop
internal import Posix
internal import Reports

/// Asks a helper for all that is shown, on a thread of its own: an answer may take seconds. One round at a time.
final class HelperQuestions: Sendable {
    private let round = Semaphore()
    private let state = Locked(State())

    private struct State {
        var isAsking = false
        /// Whether something happened that the round under way may have missed.
        var isOld = false
    }

    /// - Parameters:
    ///   - guest: The one that answers are limited to, of several; nil: all.
    ///   - answer: Called on that thread.
    /// - Throws: ``SystemError`` when there is no thread to be had.
    init(
        _ client: ControlClient, guest: String? = nil,
        _ answer: @escaping @Sendable (HelperAnswer) -> Void
    ) throws(SystemError) {
        try LoopThread.start(named: "questions") { [round, state] in
            while true {
                round.wait()
                let found = Self.ask(client, guest)
                let isOld = state.withLock { state in
                    defer { state = State(isAsking: state.isOld) }
                    return state.isOld
                }
                answer(found)
                if isOld { round.post() }
            }
        }
    }

    /// Asks, unless that is being done. Any thread.
    ///
    /// - Parameter again: Whether it is done once more in that case: something happened just now.
    func ask(again: Bool = false) {
        let isNew = state.withLock { state in
            if state.isAsking {
                state.isOld = state.isOld || again
                return false
            }
            state.isAsking = true
            return true
        }
        if isNew { round.post() }
    }

    private static func ask(_ client: ControlClient, _ guest: String?) -> HelperAnswer {
        do {
            return try report(client, guest)
        } catch {
            return .trouble(error.description)
        }
    }

    /// One round, on this thread.
    static func report(
        _ client: ControlClient, _ guest: String? = nil
    ) throws(ControlError) -> HelperAnswer {
        HelperAnswer.report(try client.status(), try client.ports(), try client.flows())
            .limited(to: guest)
    }
}
