/// Questions that wait for the backend, which is asked one at a time: it has traffic to carry, and connections that
/// were closed meanwhile must not leave their questions with it. On the server's thread.
struct WaitingLine {
    struct Question {
        /// Whether the connection that asked is still there.
        let isWanted: () -> Bool
        let ask: () -> Void
    }

    private var questions: [Question] = []
    private var isAsking = false

    mutating func join(_ question: Question) {
        questions.append(question)
        // More than there are connections: some are closed.
        if questions.count > 64 { questions.removeAll { !$0.isWanted() } }
        if !isAsking { next() }
    }

    /// Asks the first question that is still wanted.
    mutating func next() {
        isAsking = false
        let wanted = questions.drop { !$0.isWanted() }
        questions = Array(wanted.dropFirst())
        guard let question = wanted.first else { return }
        isAsking = true
        question.ask()
    }
}
