import TestSupport
import Testing
import TwinportModel

@testable import Listeners

private func at(_ milliseconds: UInt64) -> Instant { Instant(milliseconds: milliseconds) }

/// A pace in a box: `#expect` cannot call what mutates a value.
private final class Pace {
    private var pace = ScanPace()

    func hinted(at now: Instant) -> UInt64 { pace.hinted(at: now) }
    func beginScan(at now: Instant, isTold: Bool) -> Bool {
        pace.beginScan(at: now, isTold: isTold)
    }
    func foundChange() { pace.foundChange() }
    func interval(fixed: UInt64?) -> UInt64 { pace.interval(fixed: fixed) }
}

@Suite struct ScanPaceTests {
    @Test func `the interval grows from 20 to 100 ms after a change, and a setting fixes it`() {
        let pace = Pace()
        _ = pace.beginScan(at: at(1_000_000), isTold: false)
        #expect(pace.interval(fixed: nil) == 100)
        pace.foundChange()
        for (later, interval): (UInt64, UInt64) in [
            (0, 20), (999, 20), (1_000, 50), (4_999, 50), (5_000, 100), (900_000, 100),
        ] {
            _ = pace.beginScan(at: at(1_000_000 + later), isTold: false)
            #expect(pace.interval(fixed: nil) == interval, "\(later) ms after a change")
            #expect(pace.interval(fixed: 7) == 7)
            #expect(pace.interval(fixed: 0) == 1)
        }
    }

    @Test func `a clock that starts at zero is a clock like any other`() {
        let pace = Pace()
        #expect(pace.hinted(at: at(0)) == 0)
        #expect(!pace.beginScan(at: at(0), isTold: true))
        #expect(pace.interval(fixed: nil) == ScanPace.afterChange)
        #expect(pace.hinted(at: at(1)) == 4)
    }

    @Test func `a hint starts a scan at once, but no two within 5 ms`() {
        for gap in UInt64(0)...20 {
            let pace = Pace()
            _ = pace.beginScan(at: at(100), isTold: true)
            #expect(pace.hinted(at: at(100 + gap)) == (gap < 5 ? 5 - gap : 0))
        }
    }

    @Test func `a hint makes scans lively until it shows in the tables`() {
        for later in UInt64(0)...200 {
            let pace = Pace()
            _ = pace.hinted(at: at(10_000))
            _ = pace.beginScan(at: at(10_000 + later), isTold: true)
            #expect(pace.interval(fixed: nil) == (later < 60 ? 20 : 100), "\(later)")
        }
    }

    @Test func `TCP rows are reused for 400 ms, from the moment they were read`() {
        let pace = Pace()
        #expect(!pace.beginScan(at: at(1_000), isTold: true))
        #expect(pace.beginScan(at: at(1_001), isTold: true))
        #expect(pace.beginScan(at: at(1_399), isTold: true))
        #expect(!pace.beginScan(at: at(1_400), isTold: true))
        #expect(pace.beginScan(at: at(1_799), isTold: true))
        #expect(!pace.beginScan(at: at(1_799), isTold: false))
        #expect(pace.beginScan(at: at(2_198), isTold: true))
    }

    @Test func `TCP rows are not reused before a hint has settled`() {
        let pace = Pace()
        _ = pace.beginScan(at: at(1_000), isTold: true)
        _ = pace.hinted(at: at(1_000))
        #expect(!pace.beginScan(at: at(1_060), isTold: true))
        #expect(pace.beginScan(at: at(1_061), isTold: true))
    }

    /// The rules in other words: a list of everything that happened, searched anew for each answer.
    private struct Model {
        var scans: [Instant] = []
        var reads: [Instant] = []
        var changes: [Instant] = []
        var hints: [Instant] = []

        func mayReuse(at now: Instant) -> Bool {
            let isRead = reads.contains { $0 <= now && now.since($0) < 400 }
            return isRead && !hints.contains { now.since($0) <= 60 }
        }

        func interval() -> UInt64 {
            guard let last = scans.last else { return 20 }
            if hints.contains(where: { last.since($0) < 60 }) { return 20 }
            let since = changes.last.map { last.since($0) } ?? 1_000_000
            return since < 1_000 ? 20 : since < 5_000 ? 50 : 100
        }
    }

    @Test func `random histories give what a list of all that happened gives`() {
        var generator = SeededGenerator()
        for _ in 0..<50 {
            let pace = Pace()
            var (model, now) = (
                Model(), at(.random(in: 0...9, using: &generator))
            )
            for _ in 0..<200 {
                let steps: [UInt64] = [0, 1, 5, 20, 60, 100, 400, 1_000, 5_000]
                now = now + steps.randomElement(using: &generator)!
                if Int.random(in: 0..<4, using: &generator) == 0 {
                    let delay = pace.hinted(at: now)
                    model.hints.append(now)
                    let gap = model.scans.last.map { now.since($0) } ?? 5
                    #expect(delay == (gap >= 5 ? 0 : 5 - gap), "seed \(generator.seed)")
                    continue
                }
                let isTold = Int.random(in: 0..<5, using: &generator) > 0
                let reuses = pace.beginScan(at: now, isTold: isTold)
                #expect(
                    reuses == (isTold && model.mayReuse(at: now)), "seed \(generator.seed)")
                model.scans.append(now)
                if !reuses { model.reads.append(now) }
                if Int.random(in: 0..<6, using: &generator) == 0 {
                    pace.foundChange()
                    model.changes.append(now)
                }
                #expect(
                    pace.interval(fixed: nil) == model.interval(), "seed \(generator.seed)")
            }
        }
    }
}
