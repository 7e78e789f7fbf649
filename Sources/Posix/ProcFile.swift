#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A kept-open file that is read from its start each time.
package struct ProcFile: ~Copyable {
    private let fd: OwnedFD
    private static let chunk = 16_384
    /// The kernel fills these files' reads a page at a time and stops early only when the next line does
    /// not fit or there is none. Lines are shorter than 512 bytes, so a read below this was the last: one
    /// walk of the kernel's tables less per file.
    private static let pageNotFull = 4_096 - 512

    /// Opens a file for reading.
    package init(_ path: String) throws(SystemError) {
        fd = OwnedFD(
            taking: try retrying("open \(path)") { unsafe open(path, O_RDONLY | O_CLOEXEC) })
    }

    /// Reads the file from its start into `bytes`, until its end or until `isEnough` says so of what was
    /// read so far. The array keeps its size from call to call, so that a table read twenty times a second
    /// is neither allocated nor cleared each time.
    ///
    /// - Parameter hasLongLines: Whether a read that is short of a page may be followed by more.
    /// - Returns: How many leading bytes of the array are the file's.
    /// - Throws: ``SystemError``; `bytes` then means nothing.
    package borrowing func readAll(
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
}
