import EventLoop
import Testing

@testable import HostHelper

@Suite struct GatheringTests {
    private typealias Answer = @Sendable (Int) -> Void

    /// Asks three nodes, of which the second keeps what it is to answer with, and returns the answers and how long they took.
    private func gather(
        _ second: @escaping (@escaping Answer) -> Void
    ) throws -> (answers: [Int?], milliseconds: UInt64) {
        let loop = try Loop()
        let (patience, close) = try Patience.on(loop)
        let begin = Loop.nanoseconds
        let outcome = Locked<([Int?], UInt64)?>(nil)
        Gathering.from([1, 2, 3], within: patience) { node, answer in
            if node == 2 { second(answer) } else { answer(node) }
        } finish: { (answers: [Int?]) in
            outcome.withLock { $0 = (answers, Loop.nanoseconds) }
        }
        while outcome.withLock({ $0 }) == nil { loop.runOnce(waiting: true) }
        close()
        loop.close()
        let (answers, end) = try #require(outcome.withLock { $0 })
        return (answers, (end - begin) / 1_000_000)
    }

    @Test func `a node that keeps busy counts as one without an answer, after a second`() throws {
        var kept: [Answer] = []
        let late = try gather { kept.append($0) }
        #expect(late.answers == [1, nil, 3])
        #expect((1_000..<3_000).contains(late.milliseconds))
        // What it says then is too late.
        for answer in kept { answer(2) }
    }

    @Test func `nobody waits for a node that answers or ends`() throws {
        let answered = try gather { $0(2) }
        #expect(answered.answers == [1, 2, 3] && answered.milliseconds < 900)
        let ended = try gather { _ in }
        #expect(ended.answers == [1, nil, 3] && ended.milliseconds < 900)
    }
}
