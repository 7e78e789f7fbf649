public import Posix
public import Sockets

/// The byte pipe below a session: a socket in production, memory in tests, a cipher around another link.
///
/// A link reports readiness to its session; it never reads or writes by itself. Loop thread only.
public protocol Link: AnyObject {
    /// Reads what is there into `buffer`.
    ///
    /// - Returns: How many bytes, 0 at the end, nil when none are there yet.
    func read(into buffer: IOBuffer) throws(SystemError) -> Int?

    /// Writes as much of `bytes` as the pipe takes.
    ///
    /// - Returns: How many bytes, nil when it takes none now.
    func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int?

    /// Whether to report when the pipe takes bytes again. Reading is always reported.
    func watchWritable(_ isWanted: Bool)

    /// Starts reporting to `session`.
    func attach(_ session: Session)

    /// Closes the pipe for good.
    func close()
}
