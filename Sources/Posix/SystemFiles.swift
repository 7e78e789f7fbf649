#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Single looks at and touches of the file system. Any thread; all block.
public enum SystemFiles {
    /// The numeric names in a directory, as the process ids in `/proc`; empty when it cannot be read.
    public static func numbers(in path: String) -> [Int] {
        names(in: path).compactMap { Int($0) }
    }

    /// The names in a directory; empty when it cannot be read.
    public static func names(in path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { _ = unsafe closedir(directory) }
        guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            // In place: the entry ends with its name, far short of what its type says as a rule, and the last
            // one ends where the C library's buffer does.
            let name = unsafe UnsafeRawPointer(entry).advanced(by: nameOffset)
            names.append(unsafe String(cString: name.assumingMemoryBound(to: CChar.self)))
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
        guard let file = try? ProcFile(path),
            let count = try? file.readAll(into: &bytes, hasLongLines: true)
        else {
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
        try retrying("write \(path)") { unsafe systemWrite(descriptor, &bytes, bytes.count) }
    }

    /// The bytes of a file, nil when there is none.
    ///
    /// - Parameter limit: The most that is read; one byte more tells that the file is longer.
    /// - Throws: ``SystemError`` when it is there and cannot be read.
    public static func contents(_ path: String, limit: Int) throws(SystemError) -> [UInt8]? {
        let file: OwnedFD
        do {
            file = OwnedFD(
                // A pipe that nobody writes to must not stop the loop.
                taking: try retrying("open") {
                    unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                })
        } catch {
            if error.isMissing { return nil }
            throw error
        }
        let raw = file.raw
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= limit {
            let count = try retrying("read") { unsafe systemRead(raw, &chunk, chunk.count) }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// Writes a new file beside the old one and renames it into place, so that a reader sees one or the
    /// other and a full disk loses nothing. A symbolic link stays one; the mode stays, 0600 when new.
    public static func replace(_ path: String, with bytes: [UInt8]) throws(SystemError) {
        let target = resolved(path)
        makeParents(of: target)
        let mode = status(target)?.st_mode ?? 0o600
        let temporary = "\(target).new-\(getpid())"
        do {
            try create(temporary, mode: mode & 0o777, bytes)
            try retrying("rename") { unsafe rename(temporary, target) }
        } catch {
            remove(temporary)
            throw error
        }
    }

    /// Makes a new file with this content, on the disk when this returns.
    ///
    /// - Throws: ``SystemError``: EEXIST when there is one already.
    public static func create(
        _ path: String, mode: UInt32 = 0o600, _ bytes: [UInt8]
    ) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let file = OwnedFD(
            taking: try retrying("open") { unsafe open(path, flags, mode_t(mode)) })
        let raw = file.raw
        var rest = bytes
        while !rest.isEmpty {
            let count = try retrying("write") { unsafe systemWrite(raw, &rest, rest.count) }
            rest.removeFirst(count)
        }
        try retrying("fchmod") { fchmod(raw, mode_t(mode)) }
        try retrying("fsync") { fsync(raw) }
    }

    /// Removes a file; nothing is said if it is not there.
    public static func remove(_ path: String) {
        _ = unsafe unlink(path)
    }

    /// Who owns what is at `path` (a link itself, not its target), and its mode; nil when nothing is there.
    public static func owner(of path: String) -> (user: UInt32, mode: UInt32, kind: FileKind)? {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return nil }
        let kind: FileKind =
            switch info.st_mode & S_IFMT {
            case S_IFDIR: .folder
            case S_IFSOCK: .socket
            case S_IFREG: .file
            default: .other
            }
        return (info.st_uid, UInt32(info.st_mode) & 0o7777, kind)
    }

    /// Sets a file's mode.
    public static func setMode(_ mode: UInt32, of path: String) throws(SystemError) {
        try retrying("chmod \(path)") { unsafe chmod(path, mode_t(mode)) }
    }

    private static func status(_ path: String) -> stat? {
        var info = stat()
        return unsafe stat(path, &info) == 0 ? info : nil
    }

    /// Where a path leads through symbolic links; the path itself when that cannot be told.
    static func resolved(_ path: String) -> String {
        guard let real = unsafe realpath(path, nil) else { return path }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }

    /// Makes the folders above a file; a failure shows when the file itself is made.
    private static func makeParents(of path: String) {
        var end = path.startIndex
        while let slash = path[end...].dropFirst().firstIndex(of: "/") {
            _ = unsafe mkdir(String(path[..<slash]), 0o700)
            end = slash
        }
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

/// What kind of thing a path names.
public enum FileKind: Sendable {
    /// A regular file.
    case file
    /// A directory.
    case folder
    /// A Unix socket.
    case socket
    /// Anything else, as a symbolic link.
    case other
}

// `read` and `write` are also names of ours in places.

func systemRead(_ raw: Int32, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.read(raw, bytes, count)
    #else
        unsafe Darwin.read(raw, bytes, count)
    #endif
}

func systemWrite(_ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.write(raw, bytes, count)
    #else
        unsafe Darwin.write(raw, bytes, count)
    #endif
}
