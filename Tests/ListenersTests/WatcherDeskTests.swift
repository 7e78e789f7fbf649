import EventLoop
import Testing
import TwinportModel

@testable import Listeners

/// What several nodes get of one watcher.
@Suite struct WatcherDeskTests {
    private final class Node: Sendable {
        private let got = Locked<[ListenerChanges]>([])
        func take(_ changes: ListenerChanges) { got.withLock { $0.append(changes) } }
        var all: [ListenerChanges] { got.withLock { $0 } }
    }

    private func listener(_ port: Port) -> Listener {
        Listener(
            key: ListenerKey(kind: .tcp, endpoint: Endpoint(.anyV4, port), isV6Only: false), uid: 0,
            inode: UInt64(port))
    }

    @Test func `a node that comes later gets what is known, and then the rest`() {
        let desk = WatcherDesk()
        let (early, late) = (Node(), Node())
        _ = desk.join { early.take($0) }
        #expect(early.all.isEmpty)
        desk.handOn(
            ListenerChanges(
                changes: [.appeared(listener(80)), .appeared(listener(81))], isFirst: true))
        desk.handOn(ListenerChanges(changes: [.vanished(listener(81).key)]))
        let seat = desk.join { late.take($0) }
        #expect(late.all.count == 1 && late.all[0].isFirst)
        #expect(late.all[0].changes == [.appeared(listener(80))])
        desk.handOn(ListenerChanges(changes: [.appeared(listener(82))]))
        #expect(early.all.count == 3 && late.all.count == 2 && !late.all[1].isFirst)
        desk.leave(seat)
        desk.handOn(ListenerChanges(changes: [.appeared(listener(83))]))
        #expect(early.all.count == 4 && late.all.count == 2)
    }

    @Test func `a question is answered by its own number, and costs only the one that asked`() {
        let desk = WatcherDesk()
        let (one, two) = (Node(), Node())
        let first = desk.join { one.take($0) }
        let second = desk.join { two.take($0) }
        let asked = Locked<[UInt64]>([])
        for (seat, question) in [(first, 7), (second, 3), (second, 4)] as [(UInt64, UInt64)] {
            desk.ask(seat, question) { number in asked.withLock { $0.append(number) } }
        }
        #expect(asked.withLock { $0 } == [1, 2, 3])
        func answer(_ question: UInt64) -> ListenerChanges {
            ListenerChanges(answer: ScanAnswer(question: question, settled: 5, microseconds: 90))
        }
        desk.handOn(answer(2))
        #expect(one.all[0].answer == ScanAnswer(question: 7, settled: 5, microseconds: 90))
        #expect(two.all[0].answer == ScanAnswer(question: 3, settled: 5, microseconds: 90))
        desk.handOn(answer(3))
        #expect(one.all[1].answer == ScanAnswer(question: 7, settled: 5, microseconds: 0))
        #expect(two.all[1].answer == ScanAnswer(question: 4, settled: 5, microseconds: 90))
    }

    @Test func `a set within another one counts, and the whole has everything`() {
        let whole = OwnSockets()
        let (one, two) = (OwnSockets(within: whole), OwnSockets(within: whole))
        one.insert(1)
        one.insert(2)
        two.insert(3)
        #expect(one.count == 2 && two.count == 1 && whole.backlog == 3)
        one.remove(1)
        #expect(one.count == 1 && whole.backlog == 2)
    }
}
