#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A kept-open file that is read from its start each time.
public struct ProcFile: ~Copyable {
    private let fd: OwnedFD
    private static let chunk = 16_384
    /// The kernel fills these files' reads a page at a time and stops early only when the next line does
    /// not fit or there is none. Lines are shorter than 512 bytes, so a read below this was the last: one
    /// walk of the kernel's tables less per file.
    private static let pageNotFull = 4_096 - 512

    /// The descriptor, for a poller.
    public var descriptor: Int32 { fd.raw }

    /// Opens a file for reading.
    ///
    /// - Parameter nonBlocking: For files that block until something happens, as `trace_pipe`.
    public init(_ path: String, nonBlocking: Bool = false) throws(SystemError) {
        let flags = O_RDONLY | O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0)
        fd = OwnedFD(taking: try retrying("open \(path)") { unsafe open(path, flags) })
    }

    /// Reads the file from its start into `bytes`, until its end or until `isEnough` says so of what was
    /// read so far. The array keeps its size from call to call, so that a table read twenty times a second
    /// is neither allocated nor cleared each time.
    ///
    /// - Parameter hasLongLines: Whether a read that is short of a page may be followed by more.
    /// - Returns: How many leading bytes of the array are the file's.
    /// - Throws: ``SystemError``; `bytes` then means nothing.
    public borrowing func readAll(
        into bytes: inout [UInt8], hasLongLines: Bool = false,
        isEnough: (ArraySlice<UInt8>) -> Bool = { _ in false }
    ) throws(SystemError) -> Int {
        var filled = 0
        while true {
            if bytes.count - filled < Self.chunk {
                bytes.append(contentsOf: repeatElement(0, count: max(Self.chunk, bytes.count)))
            }
            let count = try readChunk(at: filled, into: &bytes)
            filled += count
            if count < (hasLongLines ? 1 : Self.pageNotFull) || isEnough(bytes[..<filled]) {
                return filled
            }
        }
    }

    private borrowing func readChunk(
        at offset: Int, into bytes: inout [UInt8]
    ) throws(SystemError) -> Int {
        let raw = fd.raw
        let result: Result<Int, SystemError> = unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(SystemError) {
                return .success(
                    try retrying("pread") {
                        unsafe pread(
                            raw, buffer.baseAddress! + offset, buffer.count - offset, off_t(offset))
                    })
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Throws away what waits in a pipe-like file.
    public borrowing func drain() {
        var scratch = [UInt8](repeating: 0, count: 4_096)
        let raw = fd.raw
        for _ in 0..<64 {
            guard unsafe read(raw, &scratch, scratch.count) > 0 else { return }
        }
    }
}
