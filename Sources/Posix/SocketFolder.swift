#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The folder of a Unix socket that only we may use.
public enum SocketFolder {
    /// A folder that is no place for such a socket, in words, with what to do.
    public struct Problem: Error, CustomStringConvertible {
        /// In one line.
        public let description: String
    }

    /// Makes the folder of the socket at `path` with mode 0700, or checks that nobody but us can put something
    /// else in the socket's place: the folder is ours or root's and closed to other writers, or sticky.
    public static func prepare(for path: String) throws(Problem) {
        guard path.hasPrefix("/") else {
            throw Problem(description: "\(path): the socket's path must be absolute")
        }
        let folder = folder(of: path)
        if SystemFiles.owner(of: folder) == nil {
            do {
                return try SystemFiles.makeDirectory(folder)
            } catch  where error.isOccupied {
                // Another program of ours was quicker.
            } catch {
                throw Problem(
                    description: "\(folder) cannot be made: \(SystemError.text(of: error.code))")
            }
        }
        try check(folder)
    }

    /// A symbolic link is as good as its target, if it is ours or root's: nobody else can point it elsewhere.
    private static func check(_ folder: String) throws(Problem) {
        let target = SystemFiles.resolved(folder)
        for place in [folder, target] {
            guard let owner = SystemFiles.owner(of: place) else { continue }
            guard owner.user == Machine.userID || owner.user == 0 else {
                throw Problem(
                    description: "\(place) belongs to user \(owner.user): choose another one")
            }
        }
        guard let owner = SystemFiles.owner(of: target), owner.kind == .folder else {
            throw Problem(description: "\(folder) is not a folder")
        }
        let isSticky = owner.mode & 0o1000 != 0
        guard owner.mode & 0o022 == 0 || isSticky else {
            throw Problem(
                description: "\(target) can be written by others: chmod go-w \(target)")
        }
    }

    /// Runs what looks whether the socket at `path` is in use, removes a dead one and binds a new one, while nobody
    /// else does: of two programs that start at once the second would remove the first one's socket.
    ///
    /// Whoever can read the folder can hold its lock: after a second of that it runs without.
    public static func claiming<Result: ~Copyable, Problem: Error>(
        _ path: String, _ body: () throws(Problem) -> Result
    ) throws(Problem) -> Result {
        let folder = folder(of: path)
        guard
            let lock = try? OwnedFD(
                taking: retrying("open") { unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            )
        else { return try body() }
        defer { withExtendedLifetime(lock) {} }
        var attempts = 0
        while flock(lock.raw, LOCK_EX | LOCK_NB) != 0, attempts < 100 {
            usleep(10_000)
            attempts += 1
        }
        return try body()
    }

    private static func folder(of path: String) -> String {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
