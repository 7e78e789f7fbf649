internal import Control
internal import EventLoop
internal import Posix
internal import Reports

/// Asks a helper for all that is shown, on a thread of its own: an answer may take seconds. One round at a time.
final class HelperQuestions: Sendable {
    private let round = Semaphore()
    private let isAsking = Locked(false)

    /// - Parameter answer: Called on that thread.
    /// - Throws: ``SystemError`` when there is no thread to be had.
    init(
        _ client: ControlClient, _ answer: @escaping @Sendable (HelperAnswer) -> Void
    ) throws(SystemError) {
        try LoopThread.start(named: "questions") { [round, isAsking] in
            while true {
                round.wait()
                let found = Self.ask(client)
                isAsking.withLock { $0 = false }
                answer(found)
            }
        }
    }

    /// Asks, unless that is being done. Any thread.
    func ask() {
        let isNew = isAsking.withLock { isAsking in
            defer { isAsking = true }
            return !isAsking
        }
        if isNew { round.post() }
    }

    private static func ask(_ client: ControlClient) -> HelperAnswer {
        do {
            return try report(client)
        } catch {
            return .trouble(error.description)
        }
    }

    /// One round, on this thread.
    static func report(_ client: ControlClient) throws(ControlError) -> HelperAnswer {
        .report(try client.status(), try client.ports(), try client.flows())
    }
}
