import Reports
import Testing
import TwinportModel

@Suite struct EventRingTests {
    private func ring(_ count: Int, startedAt start: Int = 0) -> EventRing {
        var ring = EventRing(startedAt: start)
        for index in 0..<count { ring.add(.node(.sessionDown("\(index)")), time: index) }
        return ring
    }

    private func numbers(_ ring: EventRing, after number: UInt64, most: Int = .max) -> [UInt64] {
        ring.events(after: number, most: min(most, 100_000), now: 0).map(\.number)
    }

    @Test func `every event is had once, from any number, in any pieces`() {
        for count in [0, 1, 5, EventRing.kept - 1, EventRing.kept, EventRing.kept + 1, 3_000] {
            let ring = ring(count)
            var last: UInt64 = 0
            var seen: [UInt64] = []
            while true {
                let part = numbers(ring, after: last, most: 100)
                guard let end = part.last else { break }
                seen += part
                last = end
            }
            let lost = max(0, count - EventRing.kept)
            // The gap stands in for the last event that is lost.
            #expect(seen == Array((count == 0 ? 1 : UInt64(max(1, lost)))..<UInt64(count + 1)))
        }
    }

    @Test func `a gap says how many are lost`() {
        let ring = ring(EventRing.kept + 100)
        let first = ring.events(after: 40, most: 2, now: 7)
        #expect(
            first.first
                == HelperEvent(
                    number: 100, time: 7, kind: .gap(EventGap(lost: 60, restarted: false))))
        #expect(first.map(\.number) == [100, 101, 102])
        #expect(numbers(ring, after: 100, most: 1) == [101])
        let all = ring.events(after: 0, most: 0, now: 7)
        #expect(all.map(\.kind) == [.gap(EventGap(lost: 100, restarted: false))])
    }

    @Test func `a later run's numbers are higher, and a reader of the earlier one is told`() {
        let first = ring(3, startedAt: 1_700_000_000_000)
        let second = ring(2, startedAt: 1_700_000_000_001)
        #expect(second.newest > first.newest)
        let seen = second.events(after: first.newest, most: 10, now: 0)
        #expect(seen.first?.kind == .gap(EventGap(lost: nil, restarted: true)))
        #expect(seen.map(\.number) == [0, 1, 2].map { second.newest - 2 + $0 })
        // A clock that was set back.
        let back = first.events(after: second.newest, most: 10, now: 0)
        #expect(back.first?.kind == .gap(EventGap(lost: nil, restarted: true)))
        #expect(first.events(after: first.newest, most: 10, now: 0).isEmpty)
    }

    @Test func `events are counted by kind`() {
        var ring = ring(2)
        ring.add(.settings(SettingsNews(enabled: true, tunnel: "", error: nil)), time: 0)
        #expect(ring.counts == ["session-down": 2, "settings": 1])
    }
}
