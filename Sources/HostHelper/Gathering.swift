internal import EventLoop

/// Collects one answer from each of several nodes. A node that ends before it answers, or does not answer within a second,
/// counts as one without: one that is busy does not keep the others' answers back. Any thread.
final class Gathering<Value: Sendable>: Sendable {
    private struct State: Sendable {
        var values: [Value?]
        var missing: Int
        var isOver = false
    }

    private let state: Locked<State>
    private let finish: @Sendable ([Value?]) -> Void

    private init(_ count: Int, _ finish: @escaping @Sendable ([Value?]) -> Void) {
        state = Locked(State(values: Array(repeating: nil, count: count), missing: count))
        self.finish = finish
    }

    /// Asks all, and calls `finish` once, with the answers in order: on the thread of the last one that answers, or of the
    /// patience that ends.
    ///
    /// - Parameter ask: Asks one. What it is given is called at most once, or released.
    static func from<Node>(
        _ nodes: [Node], within patience: Patience,
        _ ask: (Node, @escaping @Sendable (Value) -> Void) -> Void,
        finish: @escaping @Sendable ([Value?]) -> Void
    ) {
        if nodes.isEmpty { return finish([]) }
        let gathering = Gathering(nodes.count, finish)
        // Before the nodes: of two questions the first one's patience ends first.
        patience.wait { [weak gathering] in gathering?.end() }
        for (index, node) in nodes.enumerated() {
            let ticket = Ticket(gathering, index)
            ask(node) { ticket.answer($0) }
        }
    }

    private func take(_ value: Value?, at index: Int) {
        let all: [Value?]? = state.withLock { state in
            guard !state.isOver else { return nil }
            state.values[index] = value
            state.missing -= 1
            state.isOver = state.missing == 0
            return state.isOver ? state.values : nil
        }
        if let all { finish(all) }
    }

    /// Goes on without those that have not answered.
    private func end() {
        let all: [Value?]? = state.withLock { state in
            defer { state.isOver = true }
            return state.isOver ? nil : state.values
        }
        if let all { finish(all) }
    }

    /// One node's turn, which is over at the latest when nobody can answer any more.
    private final class Ticket: Sendable {
        private let gathering: Gathering
        private let index: Int
        private let isUsed = Locked(false)

        init(_ gathering: Gathering, _ index: Int) {
            self.gathering = gathering
            self.index = index
        }

        deinit { answer(nil) }

        func answer(_ value: Value?) {
            let isFirst = isUsed.withLock { isUsed in
                defer { isUsed = true }
                return !isUsed
            }
            if isFirst { gathering.take(value, at: index) }
        }
    }
}
