#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A descriptor with one owner, closed when the owner lets go of it.
///
/// A `Poller` on the descriptor must be closed first.
package struct OwnedFD: ~Copyable, Sendable {
    /// The descriptor, valid for as long as this value lives.
    package let raw: Int32

    /// Takes over `raw`. No other code may close it from now on.
    package init(taking raw: Int32) {
        self.raw = raw
    }

    deinit {
        // A close interrupted by a signal has closed on Linux; an error here has no remedy.
        _ = close(raw)
    }
}
