import Testing
import TwinportModel

@testable import Listeners

@Suite struct RareLookTests {
    @Test func `a look that takes long is followed by two thousand times as long without one`() {
        var pace = RareLook(every: 2_000)
        var looks: [UInt64] = []
        for now in stride(from: UInt64(0), to: 60_000, by: 100) {
            var clock: UInt64 = 0
            _ = pace.look(at: Instant(milliseconds: now), clock: { clock }) {
                looks.append(now)
                // The second look takes 6 ms, every other one next to nothing.
                clock = looks.count == 2 ? 6_000_000 : 100_000
                return true
            }
        }
        #expect(Array(looks.prefix(4)) == [0, 2_000, 14_000, 16_000])
    }

    @Test func `what the look found is told, and nothing when there is none`() {
        var pace = RareLook(every: 10)
        #expect(pace.look(at: Instant(milliseconds: 0)) { true })
        var wasCalled = false
        let told = pace.look(at: Instant(milliseconds: 5)) {
            wasCalled = true
            return true
        }
        #expect(!told && !wasCalled)
    }
}
