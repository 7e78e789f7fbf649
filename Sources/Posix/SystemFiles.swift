#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Single reads and changes of the file system. Any thread; all block.
package enum SystemFiles {
    /// The numeric names in a directory, as the process ids in `/proc`; empty when it cannot be read.
    package static func numbers(in path: String) -> [Int] {
        names(in: path).compactMap { Int($0) }
    }

    /// The names in a directory; empty when it cannot be read.
    package static func names(in path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { _ = unsafe closedir(directory) }
        guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            // Read in place: an entry ends with its name and is usually much shorter than its type, and the last
            // entry ends where the C library's buffer does.
            let name = unsafe UnsafeRawPointer(entry).advanced(by: nameOffset)
            names.append(unsafe String(cString: name.assumingMemoryBound(to: CChar.self)))
        }
        return names
    }

    /// Where a symbolic link points, nil when it cannot be read.
    ///
    /// - Parameter longest: So many bytes of it at most; what /proc names is short.
    package static func link(_ path: String, longest: Int = 256) -> String? {
        var bytes = [UInt8](repeating: 0, count: longest)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe readlink(
                path, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    /// The text of a small file, nil when it cannot be read.
    package static func text(_ path: String) -> String? {
        var bytes: [UInt8] = []
        guard let file = try? ProcFile(path),
            let count = try? file.readAll(into: &bytes, hasLongLines: true)
        else {
            return nil
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// The bytes of a file, nil when there is none.
    ///
    /// - Parameter limit: The most that is read; one byte more tells that the file is longer.
    /// - Throws: ``SystemError`` when it is there and cannot be read.
    package static func contents(_ path: String, limit: Int) throws(SystemError) -> [UInt8]? {
        let file: OwnedFD
        do {
            file = OwnedFD(
                // Opening a pipe without a writer must not block the loop.
                taking: try retrying("open") {
                    unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                })
        } catch {
            if error.isMissing { return nil }
            throw error
        }
        let raw = file.raw
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(65_536, limit + 1))
        // It may have been a key.
        defer { Memory.wipe(&chunk) }
        while bytes.count <= limit {
            let count = try retrying("read") { unsafe systemRead(raw, &chunk, chunk.count) }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// Writes a new file beside the old one and renames it into place, so that a reader sees one or the
    /// other and a full disk loses nothing. A symbolic link stays one, also one whose target is missing: the target is then
    /// made, if its folder exists. The mode stays, 0600 when new.
    package static func replace(_ path: String, with bytes: [UInt8]) throws(SystemError) {
        let target = destination(of: path)
        if target == path { makeParents(of: target) }
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

    /// Makes a new file with this content, on the disk when this returns. There is never a part of it at `path`: it is
    /// written under another name in the same folder first.
    ///
    /// - Throws: ``SystemError``: EEXIST when there is one already, which is left alone.
    package static func createWhole(_ path: String, _ bytes: [UInt8]) throws(SystemError) {
        if identity(of: path) != nil { throw SystemError("open", EEXIST) }
        let temporary = "\(path).new-\(getpid())"
        defer { remove(temporary) }
        try create(temporary, bytes)
        do {
            // Unlike rename(2), link(2) replaces nothing.
            try retrying("link") { systemLink(temporary, path) }
        } catch  where [EPERM, EOPNOTSUPP].contains(error.code) {
            // A file system without links, as FAT. What appeared at the path within these microseconds would be lost.
            if identity(of: path) != nil { throw SystemError("open", EEXIST) }
            try retrying("rename") { unsafe rename(temporary, path) }
        }
        syncFolder(of: path)
    }

    /// Has the names of a file's folder on the disk. Not every file system can do that.
    private static func syncFolder(of path: String) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        guard
            let file = try? OwnedFD(
                taking: retrying("open") { unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            )
        else { return }
        _ = fsync(file.raw)
    }

    /// Makes a new file with this content, on the disk when this returns. After an error a part of it may be there.
    ///
    /// - Throws: ``SystemError``: EEXIST when there is one already.
    package static func create(
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

    /// Removes a file. A missing file is not an error.
    package static func remove(_ path: String) {
        _ = unsafe unlink(path)
    }

    /// The owner, mode and kind of the file at `path` (of a link itself, not its target); nil when there is none.
    package static func owner(of path: String) -> (user: UInt32, mode: UInt32, kind: FileKind)? {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return nil }
        return (info.st_uid, UInt32(info.st_mode) & 0o7777, FileKind(info.st_mode))
    }

    /// Which file `path` names (a link itself, not its target); nil when there is none.
    package static func identity(of path: String) -> FileIdentity? {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return nil }
        return FileIdentity(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
    }

    /// Sets a file's mode.
    package static func setMode(_ mode: UInt32, of path: String) throws(SystemError) {
        try retrying("chmod \(path)") { unsafe chmod(path, mode_t(mode)) }
    }

    private static func status(_ path: String) -> stat? {
        var info = stat()
        return unsafe stat(path, &info) == 0 ? info : nil
    }

    /// Where a path leads through symbolic links; the path itself when that cannot be told.
    package static func resolved(_ path: String) -> String {
        guard let real = unsafe realpath(path, nil) else { return path }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }

    /// Where open(2) would make a file that is missing at `path`: the end of a chain of symbolic links.
    private static func destination(of path: String) -> String {
        guard status(path) == nil else { return resolved(path) }
        var place = path
        // As many as the kernel follows (path_resolution(7)).
        for _ in 0..<40 {
            guard let next = link(place, longest: Int(PATH_MAX)) else { break }
            let end = place.lastIndex(of: "/").map { place.index(after: $0) }
            let folder = place[..<(end ?? place.startIndex)]
            place = next.hasPrefix("/") ? next : folder + next
        }
        return place
    }

    /// What `path` leads to, through links; nil when there is nothing.
    package static func kind(at path: String) -> FileKind? {
        status(path).map { FileKind($0.st_mode) }
    }

    /// Removes a folder that is empty. One that is not is left alone.
    package static func removeEmptyFolder(_ path: String) {
        _ = unsafe rmdir(path)
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
    package static func makeDirectory(_ path: String) throws(SystemError) {
        try retrying("mkdir \(path)") { unsafe mkdir(path, 0o700) }
    }
}

/// One file of this machine, whatever its name, for as long as it exists.
package struct FileIdentity: Equatable, Sendable {
    /// The file system.
    package let device: UInt64
    /// The number in it.
    package let inode: UInt64

    /// Names a file.
    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

/// What kind of thing a path names.
package enum FileKind: Sendable {
    /// A regular file.
    case file
    /// A directory.
    case folder
    /// A Unix socket.
    case socket
    /// Anything else, as a symbolic link.
    case other

    fileprivate init(_ mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFDIR: self = .folder
        case S_IFSOCK: self = .socket
        case S_IFREG: self = .file
        default: self = .other
        }
    }
}

// `read`, `write` and `link` are also names of ours in places.

func systemRead(_ raw: Int32, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.read(raw, bytes, count)
    #else
        unsafe Darwin.read(raw, bytes, count)
    #endif
}

private func systemLink(_ from: String, _ to: String) -> Int32 {
    #if canImport(Glibc)
        unsafe Glibc.link(from, to)
    #else
        unsafe Darwin.link(from, to)
    #endif
}

func systemWrite(_ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.write(raw, bytes, count)
    #else
        unsafe Darwin.write(raw, bytes, count)
    #endif
}
