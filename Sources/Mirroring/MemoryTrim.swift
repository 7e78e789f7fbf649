/// When to give freed memory back to the kernel: the allocator alone keeps it for as long as anything newer lies
/// behind it. Pure.
struct MemoryTrim {
    /// What is worth giving back, in bytes.
    private static let much: UInt64 = 8 << 20

    /// The most that received bytes took since memory was last given back.
    private var peak: UInt64 = 0

    /// Takes note of what received bytes took at most.
    mutating func note(peak held: UInt64) {
        peak = max(peak, held)
    }

    /// Whether much was held and no longer is; counts as given back then.
    mutating func isDue(held: UInt64) -> Bool {
        guard peak >= Self.much, held <= peak / 2 else { return false }
        peak = held
        return true
    }
}
