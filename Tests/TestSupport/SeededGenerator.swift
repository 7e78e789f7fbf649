/// A small, seeded generator (SplitMix64), so that a failing random test can be run again.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    /// What to print when a test fails.
    public let seed: UInt64

    /// Starts from `seed`, or from one of the system's.
    public init(seed: UInt64 = .random(in: 0...(.max))) {
        self.seed = seed
        state = seed
    }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// So many random bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}
