import Testing

@testable import Mirroring

@Suite struct DoneFlowsTests {
    private final class Finishing: FinishingFlow {
        var whenFinished: () -> Void = {}
        private(set) var count = 0

        func finish() {
            count += 1
            whenFinished()
        }
    }

    @Test("a flow waits for the turn's end, is finished once, and is let go")
    func once() {
        let done = DoneFlows()
        var flow: Finishing? = Finishing()
        weak let released = flow
        done.append(flow!)
        #expect(flow?.count == 0)
        done.finish()
        done.finish()
        #expect(flow?.count == 1)
        flow = nil
        #expect(released == nil)
    }

    @Test("a flow that is done because another was finished waits for the next turn")
    func later() {
        let done = DoneFlows()
        let first = Finishing()
        let second = Finishing()
        first.whenFinished = { done.append(second) }
        done.append(first)
        done.finish()
        #expect(second.count == 0)
        done.finish()
        #expect(second.count == 1)
    }
}
