import Testing
import Tunnel

@testable import Listeners
@testable import Mirroring

private final class Signal: ListenerSignal, @unchecked Sendable {
    var position: UInt64 = 0
    func leaveOutCaller() {}
    func leaveOutProcess() {}
}

@Suite struct OrderGateTests {
    /// A gate, its clock, and what it asked the watcher.
    private final class Rig {
        var now: UInt64 = 1_000
        var asked: [UInt64] = []
        let signal = Signal()
        private(set) lazy var gate = OrderGate { [unowned self] in now }

        init(hasSignal: Bool) {
            if hasSignal { gate.signal = signal }
            gate.ask = { [unowned self] in asked.append($0) }
        }

        func answer(_ question: UInt64, settled: UInt64 = 0, microseconds: UInt64 = 100) {
            gate.answered(
                ScanAnswer(question: question, settled: settled, microseconds: microseconds))
        }
    }

    @Test func `a signal that has not moved lets everything through, and asks nothing`() {
        let rig = Rig(hasSignal: true)
        for _ in 0..<3 { #expect(rig.gate.check() == .open) }
        #expect(rig.asked.isEmpty)
    }

    @Test func `bytes wait for a scan that began after they were read`() {
        let rig = Rig(hasSignal: true)
        rig.signal.position = 40
        #expect(rig.gate.check() == .held)
        // A scan that began before says nothing of these bytes, whatever it saw.
        rig.answer(0, settled: 40)
        #expect(rig.gate.check() == .held)
        rig.answer(1, settled: 0)
        #expect(rig.gate.check() == .openedWithNews)
        // The event is too young for that scan to be sure of others: the next bytes ask again.
        #expect(rig.gate.check() == .held)
        rig.answer(2, settled: 40)
        #expect(rig.gate.check() == .openedWithNews)
        #expect(rig.gate.check() == .open)
        #expect(rig.asked == [1, 2])
        #expect(rig.gate.gaps == 0)
    }

    @Test func `bytes are held a bounded time, and what was not in order is counted`() {
        let rig = Rig(hasSignal: true)
        rig.signal.position = 40
        #expect(rig.gate.check() == .held)
        rig.now += OrderGate.longestHold - 1
        #expect(rig.gate.check() == .held)
        rig.now += 1
        #expect(rig.gate.check() == .openedWithNews)
        #expect(rig.gate.gaps == 1)
    }

    @Test func `without a signal bytes wait as long as scans take a twenty-fifth of the time`() {
        let rig = Rig(hasSignal: false)
        var looked = 0
        func batch() {
            guard rig.gate.check() == .held else { return }
            looked += 1
            rig.answer(rig.asked.last ?? 0, microseconds: 1_000)
            #expect(rig.gate.check() == .openedWithNews)
        }
        // After a pause many batches in a row are in order.
        for _ in 0..<20 { batch() }
        #expect(looked == 20)
        for _ in 0..<20 { batch() }
        #expect(looked == 20)
        // Later one in twenty-five milliseconds.
        for _ in 0..<1_000 {
            rig.now += 1
            batch()
        }
        #expect((58...62).contains(looked))
    }

    @Test func `nothing waits when nothing is offered, nor for a session that is over`() {
        let rig = Rig(hasSignal: true)
        rig.signal.position = 40
        rig.gate.isWanted = false
        #expect(rig.gate.check() == .open)
        rig.gate.isWanted = true
        #expect(rig.gate.check() == .held)
        rig.gate.sessionLost()
        #expect(rig.gate.check() == .held)
        #expect(rig.asked == [1, 2])
    }
}
