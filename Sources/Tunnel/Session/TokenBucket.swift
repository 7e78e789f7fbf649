/// A rate with a burst: so many at once, so many a second after that. Pure.
package struct TokenBucket: Sendable {
    private let burst: UInt64
    private let perSecond: UInt64
    /// In thousandths of a token, so that a millisecond adds a whole number.
    private var level: UInt64
    private var updated: UInt64

    /// Starts full at time `now` (milliseconds).
    package init(burst: UInt64, perSecond: UInt64, now: UInt64) {
        self.burst = burst
        self.perSecond = perSecond
        level = burst * 1_000
        updated = now
    }

    /// Takes one token.
    ///
    /// - Returns: Whether there was one.
    package mutating func take(now: UInt64) -> Bool {
        refill(now: now)
        guard level >= 1_000 else { return false }
        level -= 1_000
        return true
    }

    /// How many milliseconds until the next token, 0 when there is one.
    package mutating func wait(now: UInt64) -> UInt64 {
        refill(now: now)
        return level >= 1_000 ? 0 : (1_000 - level) / max(1, perSecond) + 1
    }

    private mutating func refill(now: UInt64) {
        guard now > updated else { return }
        let elapsed = min(now - updated, 3_600_000)
        updated = now
        level = min(burst * 1_000, level + elapsed * perSecond)
    }
}
