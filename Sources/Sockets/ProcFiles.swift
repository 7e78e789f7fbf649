#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

// Files as the kernel serves them: /proc tables that are read again and again, directories of numbers,
// links, and control files that take a word.

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
    /// - Returns: How many leading bytes of the array are the file's.
    /// - Throws: ``SystemError``; `bytes` then means nothing.
    public borrowing func readAll(
        into bytes: inout [UInt8], isEnough: (ArraySlice<UInt8>) -> Bool = { _ in false }
    ) throws(SystemError) -> Int {
        var filled = 0
        while true {
            if bytes.count - filled < Self.chunk {
                bytes.append(contentsOf: repeatElement(0, count: max(Self.chunk, bytes.count)))
            }
            let count = try readChunk(at: filled, into: &bytes)
            filled += count
            if count < Self.pageNotFull || isEnough(bytes[..<filled]) { return filled }
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

/// Single looks at and touches of the file system.
public enum SystemFiles {
    /// The numeric names in a directory, as the process ids in `/proc`; empty when it cannot be read.
    public static func numbers(in path: String) -> [Int] {
        names(in: path).compactMap { Int($0) }
    }

    /// The names in a directory; empty when it cannot be read.
    public static func names(in path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { _ = unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            names.append(name)
        }
        return names
    }

    /// Where a symbolic link points, nil when it cannot be read.
    public static func link(_ path: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe readlink(
                path, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    /// The text of a small file, nil when it cannot be read.
    public static func text(_ path: String) -> String? {
        var bytes: [UInt8] = []
        guard let file = try? ProcFile(path), let count = try? file.readAll(into: &bytes) else {
            return nil
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Writes a word into a control file.
    public static func write(_ text: String, to path: String) throws(SystemError) {
        let raw = try retrying("open \(path)") { unsafe open(path, O_WRONLY | O_CLOEXEC) }
        let file = OwnedFD(taking: raw)
        var bytes = Array(text.utf8)
        let descriptor = file.raw
        try retrying("write \(path)") { unsafe Sockets.write(descriptor, &bytes, bytes.count) }
    }

    /// Makes a directory of mode 0700.
    public static func makeDirectory(_ path: String) throws(SystemError) {
        try retrying("mkdir \(path)") { unsafe mkdir(path, 0o700) }
    }

    /// Removes an empty directory, or a trace instance; nothing is said if it is not there.
    public static func removeDirectory(_ path: String) {
        _ = unsafe rmdir(path)
    }

    /// Whether a process of this number exists.
    public static func isProcessAlive(_ pid: Int32) -> Bool {
        kill(pid, 0) == 0 || errno == EPERM
    }
}

private func write(_ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.write(raw, bytes, count)
    #else
        unsafe Darwin.write(raw, bytes, count)
    #endif
}
