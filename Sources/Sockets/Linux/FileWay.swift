internal import CKernel
internal import Glibc
internal import Posix
internal import TwinportModel

// # The way to a Unix socket of a forward
//
// The opener is root, and users own parts of the ways that it goes. So no path is given to the kernel to be resolved with
// root's rights, to be judged by a second look: each step is opened (O_PATH, O_NOFOLLOW) in the folder before it, what it is
// and whose is read from that descriptor, and links are followed by hand.
//
//     /            run          user         1000         app (a link)        s.sock
//     root's       root's       root's       user 1000's  user 1000's         the file
//
// Two kinds of ways:
//
//     - to make or remove a socket (`trusted` is given): every folder and link must be of a trusted user. From the first
//       one on that is neither root's nor ours, the rest is done as its owner (setfsuid(2));
//     - to an existing socket: every user on the way is remembered (``PathHands``), and so is whether they had a say in
//       which socket it is that the way leads to.
//
// A way is at most 107 bytes long, has at most 8 links of at most 1,023 bytes each, and 256 steps in all.

/// Why a socket cannot be made or reached.
package struct PathProblem: Error, Equatable, Sendable {
    /// The errno; EPERM where the place is not safe.
    package let code: Int32
    /// In words, with the file that is meant.
    package let text: String

    init(_ code: Int32, _ trouble: ForwardTrouble) {
        self.code = code
        text = trouble.text
    }

    init(_ error: SystemError, _ path: String) {
        self.init(error.code, .system(path, SystemError.text(of: error.code)))
    }

    /// Says of what fails in `body` that it was at `path`.
    static func at<Result: ~Copyable>(
        _ path: String, _ body: () throws(SystemError) -> Result
    ) throws(PathProblem) -> Result {
        do {
            return try body()
        } catch {
            throw PathProblem(error, path)
        }
    }
}

/// A file that was found, and cannot be exchanged any more.
final class PathFile {
    let descriptor: OwnedFD
    let info: stat

    /// Opens `name` in a folder (AT_FDCWD: an absolute path); a link itself.
    init(_ name: String, in folder: Int32) throws(SystemError) {
        let raw = try retrying("open") { unsafe ckernel_open_path(folder, name) }
        descriptor = OwnedFD(taking: raw)
        var info = stat()
        try retrying("fstat") { unsafe fstat(raw, &info) }
        self.info = info
    }

    /// A path that leads to it, whatever its name is by now.
    var path: String { "/proc/self/fd/\(descriptor.raw)" }
    var isSocket: Bool { info.st_mode & S_IFMT == S_IFSOCK }
    var isFolder: Bool { info.st_mode & S_IFMT == S_IFDIR }
    var isLink: Bool { info.st_mode & S_IFMT == S_IFLNK }
    /// A folder in which others may replace what is not theirs.
    var isOpen: Bool { isFolder && info.st_mode & 0o022 != 0 && info.st_mode & 0o1000 == 0 }

    var identity: FileIdentity {
        FileIdentity(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
    }

    /// Sets its mode unless it has it.
    func set(mode: UInt32) throws(SystemError) {
        if UInt32(info.st_mode) & 0o777 == mode { return }
        try SystemFiles.setMode(mode, of: path)
    }

    /// Where a link points.
    func target() throws(SystemError) -> String {
        var bytes = [CChar](repeating: 0, count: 1_024)
        let raw = descriptor.raw
        let count = try retrying("readlink") { unsafe readlinkat(raw, "", &bytes, bytes.count) }
        guard count < bytes.count else { throw SystemError("readlink", ENAMETOOLONG) }
        return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// The users who could have a say in where a way leads, besides root and this program's.
struct PathHands {
    private var users: Set<UInt32> = []
    private var isOpen = false
    /// A link was followed that one of them could have put there.
    private var hasTurn = false

    mutating func note(_ file: PathFile) {
        if PathHands.isForeign(file.info.st_uid) { users.insert(file.info.st_uid) }
        if file.isLink, isOpen || !users.isEmpty { hasTurn = true }
        if file.isOpen { isOpen = true }
    }

    static func isForeign(_ user: UInt32) -> Bool { user != 0 && user != ThisProcess.userID }

    /// Whether a socket may be dialled. On a way that another user has a hand in, it has to be of a user on the way, and to
    /// have no second name (link(2)); and a link there leads to sockets of the same user only.
    func permits(_ file: PathFile) -> Bool {
        if users.isEmpty { return !hasTurn }
        return file.info.st_nlink == 1 && users.contains(file.info.st_uid)
            && (!hasTurn || users.count == 1)
    }

    /// Whether a connection to it may be used, by who listens.
    func permits(listener: UInt32) -> Bool { !hasTurn || users.contains(listener) }
}

/// One way. Of one thread, which may act as another user until ``leave()``.
final class FileWay {
    private static let mostLinks = 8
    private static let mostSteps = 256

    private let path: String
    private let trusted: Set<UInt32>?
    private let group: UInt32?
    private var folder: PathFile
    /// The folder's names, without links.
    private var place: [String] = []
    /// The names that are still to go, the next one last.
    private var rest: [String]
    private var counts = (links: 0, steps: 0)
    /// The other users on it.
    private(set) var hands = PathHands()
    /// Who acts; nil: this program.
    private(set) var actor: UInt32?

    /// Begins at the root.
    ///
    /// - Parameters:
    ///   - trusted: The users who may have folders and links on the way; nil: all.
    ///   - group: With which another user acts; nil: the one of that user's first folder or link.
    init(
        _ path: String, trusted: Set<UInt32>? = nil, group: UInt32? = nil
    ) throws(PathProblem) {
        self.path = path
        self.trusted = trusted
        self.group = group
        rest = Self.names(in: path)
        let isTooLong = path.utf8.count > Socket.longestUnixPath || path.utf8.contains(0)
        guard path.hasPrefix("/"), !rest.isEmpty, !isTooLong else {
            throw PathProblem(.init("open", isTooLong ? ENAMETOOLONG : EINVAL), path)
        }
        folder = try Self.root()
        try check(folder, at: "/")
    }

    private static func names(in path: String) -> [String] {
        path.split(separator: "/").filter { $0 != "." }.reversed().map(String.init)
    }

    private static func root() throws(PathProblem) -> PathFile {
        try PathProblem.at("/") { () throws(SystemError) in try PathFile("/", in: AT_FDCWD) }
    }

    /// Acts as this program's user again.
    func leave() {
        if actor != nil { _ = ckernel_act_as(geteuid(), getegid()) }
        actor = nil
    }

    // MARK: Going

    /// Whether all folders are there.
    var isWhole: Bool { rest.count == 1 }

    /// Goes to the last folder, or to the last one that is there.
    func walk() throws(PathProblem) {
        while rest.count > 1 {
            guard let file = try last() else { return }
            guard file.isFolder || file.isLink else {
                throw PathProblem(ENOTDIR, .noFolder(here))
            }
            try pass(file)
        }
    }

    /// Goes to the file itself, through links.
    ///
    /// - Throws: ``PathProblem``: ENOENT when it is not there.
    func find() throws(PathProblem) -> PathFile {
        while true {
            try walk()
            guard isWhole, let file = try last() else {
                throw PathProblem(.init("open", ENOENT), path)
            }
            guard file.isLink else { return file }
            try pass(file)
        }
    }

    /// What the next name is in the folder; after ``walk()``, when the way is whole, the last one.
    func last() throws(PathProblem) -> PathFile? {
        guard let name = rest.last else { throw PathProblem(.init("open", EISDIR), path) }
        do {
            return try PathFile(name, in: folder.descriptor.raw)
        } catch {
            if error.code == ENOENT { return nil }
            throw PathProblem(error, here)
        }
    }

    /// Where the next name is.
    private var here: String { "/" + (place + rest.suffix(1)).joined(separator: "/") }

    private func pass(_ file: PathFile) throws(PathProblem) {
        counts.steps += 1
        guard counts.steps <= Self.mostSteps else { throw PathProblem(.init("open", ELOOP), path) }
        try check(file, at: here)
        if file.isLink { return try turn(file) }
        enter(file)
    }

    private func check(_ file: PathFile, at here: String) throws(PathProblem) {
        hands.note(file)
        guard let trusted else { return }
        let user = file.info.st_uid
        guard trusted.contains(user) else {
            throw PathProblem(EPERM, .unsafeOwner(here, user: user))
        }
        if file.isOpen { throw PathProblem(EPERM, .unsafeMode(here)) }
        guard actor == nil, PathHands.isForeign(user) else { return }
        guard ckernel_act_as(user, group ?? file.info.st_gid) == 0 else {
            throw PathProblem(EPERM, .noRights(user: user))
        }
        actor = user
    }

    private func enter(_ file: PathFile) {
        let name = rest.removeLast()
        if name == ".." { _ = place.popLast() } else { place.append(name) }
        folder = file
    }

    private func turn(_ link: PathFile) throws(PathProblem) {
        counts.links += 1
        guard counts.links <= Self.mostLinks else { throw PathProblem(.init("open", ELOOP), path) }
        // Those of /proc/PID lead elsewhere than to the path that they show.
        guard link.info.st_size > 0 else {
            throw PathProblem(EPERM, .oddLink(here))
        }
        let target = try PathProblem.at(here) { () throws(SystemError) in try link.target() }
        rest.removeLast()
        rest += Self.names(in: target)
        guard target.hasPrefix("/") else { return }
        folder = try Self.root()
        place = []
        try check(folder, at: "/")
    }

    // MARK: Changing

    /// Makes the folders that are not there.
    func makeFolders(mode: UInt32) throws(PathProblem) {
        while rest.count > 1, let name = rest.last {
            let raw = folder.descriptor.raw
            try PathProblem.at(here) { () throws(SystemError) in
                _ = try retrying("mkdir") { unsafe mkdirat(raw, name, mode_t(mode)) }
            }
            let made = try own { $0.isFolder }
            try PathProblem.at(here) { () throws(SystemError) in try made.set(mode: mode) }
            enter(made)
        }
    }

    /// What was just made under the next name.
    func own(_ isKind: (PathFile) -> Bool) throws(PathProblem) -> PathFile {
        guard let file = try last(), isKind(file),
            file.info.st_uid == actor ?? ThisProcess.userID
        else { throw PathProblem(EPERM, .replaced(here)) }
        return file
    }

    /// Removes the file, if it is still this one.
    func remove(_ file: PathFile) {
        guard isWhole, let name = rest.last, (try? last())??.identity == file.identity else {
            return
        }
        _ = unsafe unlinkat(folder.descriptor.raw, name, 0)
    }
}
