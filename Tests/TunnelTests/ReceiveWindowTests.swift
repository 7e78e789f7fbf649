import Testing

@testable import Tunnel

/// How credit grows, over a pipe with a delay and a clock by hand.
struct ReceiveWindowTests {
    private static let initial = ReceiveBudget.initialWindow
    private static let mebibyte: UInt64 = 1 << 20

    /// A peer that sends as much as it may, a pipe that takes `roundTrip` for a grant and the bytes it
    /// allows, and a reader that takes `rate` bytes a millisecond. One turn is a millisecond.
    private struct Model {
        var window = ReceiveWindow(initial: ReceiveWindowTests.initial, now: 0)
        var budget: ReceiveBudget
        let roundTrip: Int
        let rate: Int
        /// What the sender may send up to, by when it knows.
        var limits: [(at: Int, limit: UInt64)] = [(0, UInt64(ReceiveWindowTests.initial))]
        var sent: UInt64 = 0
        var consumed: UInt64 = 0
        var largest: UInt64 = 0

        init(roundTrip: Int, rate: Int, budget: UInt64 = ReceiveBudget.growth) {
            self.roundTrip = roundTrip
            self.rate = rate
            self.budget = ReceiveBudget(growth: budget)
        }

        /// Runs for so many milliseconds, with a sender of at most `sendRate` bytes a millisecond.
        mutating func run(_ milliseconds: Int, sendRate: Int = .max) throws {
            for now in 0..<milliseconds {
                let limit = limits.last { $0.at <= now }?.limit ?? 0
                let frame = Int(min(limit - sent, 262_144, UInt64(sendRate)))
                if frame > 0 {
                    let isCovered = window.receive(frame, &budget) == .fine
                    try #require(isCovered)
                    sent += UInt64(frame)
                }
                let taken = Int(min(sent - consumed, UInt64(rate)))
                guard taken > 0 else { continue }
                consumed += UInt64(taken)
                if let limit = window.consume(taken, &budget, now: UInt64(now)) {
                    limits.append((now + roundTrip, limit))
                    largest = max(largest, limit - consumed)
                }
            }
        }
    }

    @Test(arguments: [5, 50, 400])
    func `a long tunnel gets a large window, within a few round trips`(
        roundTrip: Int
    ) throws {
        var model = Model(roundTrip: roundTrip, rate: .max)
        try model.run(12 * roundTrip)
        let most = ReceiveBudget.growth / 2 + UInt64(Self.initial)
        #expect(model.largest > 5 * Self.mebibyte && model.largest <= most)
        #expect(model.budget.growth == ReceiveBudget.growth / 2)
    }

    @Test func `a reader that is slower than its sender gets no larger window`() throws {
        var model = Model(roundTrip: 20, rate: 200)
        try model.run(5_000)
        #expect(model.largest <= UInt64(Self.initial))
    }

    @Test func `a sender that does not use its window gets no larger one`() throws {
        var model = Model(roundTrip: 20, rate: .max)
        try model.run(5_000, sendRate: 199)
        #expect(model.largest <= UInt64(Self.initial))
    }

    @Test func `growth ends where the budget does, and comes back to it`() throws {
        var model = Model(roundTrip: 50, rate: .max, budget: Self.mebibyte)
        try model.run(2_000)
        #expect(model.largest <= UInt64(Self.initial) + Self.mebibyte)
        model.window.release(&model.budget)
        #expect(model.budget.growth == Self.mebibyte)
    }

    @Test func `windows that grow together get even parts, also of what one had alone`() throws {
        var budget = ReceiveBudget()
        var windows = [ReceiveWindow(initial: Self.initial, now: 0)]
        // Each sender uses all of its credit, each reader takes all of it at once.
        func run(_ rounds: Int) {
            for _ in 0..<rounds {
                for index in windows.indices {
                    let room = Int(windows[index].granted - windows[index].received)
                    let verdict = windows[index].receive(room, &budget)
                    #expect(verdict == .fine)
                    _ = windows[index].consume(room, &budget, now: 0)
                }
            }
        }
        func sizes() -> [UInt64] { windows.map { $0.granted - $0.received } }
        let alone = ReceiveBudget.growth / 2 + UInt64(Self.initial)
        run(12)
        #expect(sizes() == [alone])
        for count in [2, 3, 64, 500] {
            // Of the peer's, and of ours, which begin larger or smaller.
            while windows.count < count {
                let isOffered = windows.count % 2 == 0
                let initial = isOffered ? budget.offer() : Self.initial
                windows.append(
                    ReceiveWindow(initial: initial, isOffered: isOffered, now: 0))
            }
            run(max(24, count))
            let sizes = sizes()
            let (least, most) = (sizes.min() ?? 0, sizes.max() ?? 0)
            #expect(most < 2 * least && most <= budget.share, "\(count): \(least) to \(most)")
            #expect(
                least >= ReceiveBudget.growth / UInt64(count + 1) / 2, "\(count): \(least)")
        }
        // Those that stop give their parts to the one that goes on.
        while windows.count > 1 {
            var last = windows.removeLast()
            last.release(&budget)
        }
        run(12)
        #expect(sizes() == [alone])
        windows[0].release(&budget)
        #expect(budget == ReceiveBudget())
    }
}
