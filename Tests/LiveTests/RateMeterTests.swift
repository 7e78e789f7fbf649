import Testing

@testable import Live

@Suite struct RateMeterTests {
    private let second: UInt64 = 1_000_000_000

    @Test func `a rate is what came in between, by the time in between`() {
        var meter = RateMeter<Int>()
        meter.take([1: ByteCount(1_000, 5)], at: second)
        #expect(meter[1] == ByteRate() && meter.total == ByteRate())
        meter.take([1: ByteCount(1_500, 5), 2: ByteCount(0, 0)], at: 3 * second)
        #expect(meter[1] == ByteRate(bytesIn: 250, bytesOut: 0))
        #expect(meter.rates.count == 1)
        // The second one appeared, and moved, in between.
        meter.take([1: ByteCount(1_500, 5), 2: ByteCount(10, 20)], at: 4 * second)
        #expect(meter[1] == ByteRate() && meter[2] == ByteRate(bytesIn: 10, bytesOut: 20))
        #expect(meter.total == ByteRate(bytesIn: 10, bytesOut: 20))
    }

    @Test func `a count that begins anew is no huge rate`() {
        var meter = RateMeter<Int>()
        meter.take([1: ByteCount(.max, 9)], at: second)
        meter.take([1: ByteCount(100, 0)], at: 2 * second)
        #expect(meter[1] == ByteRate(bytesIn: 100, bytesOut: 0))
    }

    @Test func `two looks at once, or a clock that goes back, change nothing`() {
        var meter = RateMeter<Int>(least: 0.5)
        meter.take([1: ByteCount(0, 0)], at: second)
        meter.take([1: ByteCount(100, 0)], at: 2 * second)
        for time in [2 * second, 2 * second + 1, second, 0, 2 * second + second / 4] {
            meter.take([1: ByteCount(1_000, 0)], at: time)
            #expect(meter[1] == ByteRate(bytesIn: 100, bytesOut: 0), "\(time)")
        }
        meter.take([1: ByteCount(1_100, 0)], at: 3 * second)
        #expect(meter[1] == ByteRate(bytesIn: 1_000, bytesOut: 0))
        meter.take([:], at: 4 * second)
        #expect(meter.rates.isEmpty)
    }
}
