/// A moment on a machine's monotonic clock, in milliseconds. Moments of two machines cannot be compared.
public struct Instant: Hashable, Comparable, Sendable {
    /// Milliseconds since some moment before this program started.
    public let milliseconds: UInt64

    /// Wraps a count of milliseconds.
    public init(milliseconds: UInt64) {
        self.milliseconds = milliseconds
    }

    /// Whether `one` is earlier than `two`.
    public static func < (one: Instant, two: Instant) -> Bool {
        one.milliseconds < two.milliseconds
    }

    /// The moment so many milliseconds later; the end of time where there is none.
    public static func + (instant: Instant, milliseconds: UInt64) -> Instant {
        let (sum, overflow) = instant.milliseconds.addingReportingOverflow(milliseconds)
        return Instant(milliseconds: overflow ? .max : sum)
    }

    /// How many milliseconds have passed since `earlier`; 0 when it is later.
    public func since(_ earlier: Instant) -> UInt64 {
        milliseconds > earlier.milliseconds ? milliseconds - earlier.milliseconds : 0
    }
}
