/// How long to wait before the next attempt: doubling from 50 ms to 1 s, with jitter. Pure.
struct Backoff {
    private var attempt = 0

    /// The next wait in milliseconds: between half and all of the step.
    mutating func next() -> UInt64 {
        let step = min(UInt64(1_000), 50 << UInt64(min(attempt, 5)))
        attempt += 1
        return .random(in: step / 2...step)
    }

    mutating func reset() {
        attempt = 0
    }
}
