#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A descriptor with one owner, closed when the owner lets go of it.
///
/// A `Poller` on the descriptor must be closed first.
public struct OwnedFD: ~Copyable, Sendable {
    /// The descriptor, valid for as long as this value lives.
    public let raw: Int32

    /// Takes over `raw`, which nobody else may close from now on.
    public init(taking raw: Int32) {
        self.raw = raw
    }

    deinit {
        // A close interrupted by a signal has closed on Linux; an error here has no remedy.
        _ = close(raw)
    }
}
