#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The folder of a Unix socket that only we may use.
package enum SocketFolder {
    /// Why a folder cannot hold a private socket, and what to do about it.
    package struct Problem: Error, CustomStringConvertible {
        /// In one line.
        package let description: String
    }

    /// Makes the folder of the socket at `path` with mode 0700. If the folder exists, checks that no other user can
    /// replace the socket: the folder must be ours or root's, and closed to other writers or sticky.
    package static func prepare(for path: String) throws(Problem) {
        guard path.hasPrefix("/") else {
            throw Problem(description: "\(path): the socket's path must be absolute")
        }
        let folder = folder(of: path)
        if SystemFiles.owner(of: folder) == nil {
            do {
                return try SystemFiles.makeDirectory(folder)
            } catch  where error.isOccupied {
                // Another program of ours made it in between.
            } catch {
                throw Problem(
                    description:
                        "\(folder) cannot be made: \(SystemError.text(of: error.code)); make it for user "
                        + "\(ThisProcess.userID), or choose a folder that exists")
            }
        }
        try check(folder)
    }

    /// Makes the folders of the sockets at these paths, all or none.
    ///
    /// - Returns: Those that were not there before, for ``remove(_:)``.
    package static func prepare(forAll paths: [String]) throws(Problem) -> [String] {
        var made: [String] = []
        for path in paths {
            let isThere = SystemFiles.owner(of: folder(of: path)) != nil
            do {
                try prepare(for: path)
            } catch {
                remove(made)
                throw error
            }
            if !isThere { made.append(folder(of: path)) }
        }
        return made
    }

    /// Removes folders that were made for nothing. One that is in use is left alone.
    package static func remove(_ made: [String]) {
        for folder in made { SystemFiles.removeEmptyFolder(folder) }
    }

    /// A symbolic link that is ours or root's is as good as its target: other users cannot change it.
    private static func check(_ folder: String) throws(Problem) {
        let target = SystemFiles.resolved(folder)
        for place in [folder, target] {
            guard let owner = SystemFiles.owner(of: place) else { continue }
            guard owner.user == ThisProcess.userID || owner.user == 0 else {
                throw Problem(
                    description: "\(place) belongs to user \(owner.user), and not to root or user "
                        + "\(ThisProcess.userID): choose another folder")
            }
        }
        guard let owner = SystemFiles.owner(of: target), owner.kind == .folder else {
            throw Problem(description: "\(folder) is not a folder: choose another path")
        }
        let isSticky = owner.mode & 0o1000 != 0
        guard owner.mode & 0o022 == 0 || isSticky else {
            throw Problem(
                description: "\(target) can be written by others: chmod go-w \(target)")
        }
    }

    /// Says why the socket at `path` may be one of a user who is not in `users`: its file and its folder must belong
    /// to them, and others must not be able to replace it. Nil when it may be believed, or is not there.
    package static func distrust(of path: String, users: Set<UInt32>) -> String? {
        let target = SystemFiles.resolved(path)
        for place in [folder(of: path), folder(of: target)] {
            for step in [place, SystemFiles.resolved(place)] {
                if let owner = SystemFiles.owner(of: step), !users.contains(owner.user) {
                    return "the folder \(step) belongs to user \(owner.user), neither ours nor root"
                }
            }
            if let owner = SystemFiles.owner(of: SystemFiles.resolved(place)),
                owner.mode & 0o022 != 0, owner.mode & 0o1000 == 0
            {
                return "others can write the folder \(place): chmod go-w \(place)"
            }
        }
        for file in [path, target] {
            if let owner = SystemFiles.owner(of: file), !users.contains(owner.user) {
                return "\(file) belongs to user \(owner.user), neither ours nor root"
            }
        }
        return nil
    }

    /// Runs `body`, which checks whether the socket at `path` is in use, removes a dead one and binds a new one, under
    /// a lock on the folder. Without the lock, the second of two programs that start at once would remove the
    /// first one's socket.
    ///
    /// Any user that can read the folder can hold its lock, so after a second of waiting `body` runs without it.
    ///
    /// - Parameter waits: False where nothing may block; then `body` may run without the lock.
    package static func claiming<Result: ~Copyable, Problem: Error>(
        _ path: String, waits: Bool = true, _ body: () throws(Problem) -> Result
    ) throws(Problem) -> Result {
        let folder = folder(of: path)
        guard
            let lock = try? OwnedFD(
                taking: retrying("open") { unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            )
        else { return try body() }
        defer { withExtendedLifetime(lock) {} }
        var attempts = 0
        while flock(lock.raw, LOCK_EX | LOCK_NB) != 0, waits, attempts < 100 {
            usleep(10_000)
            attempts += 1
        }
        return try body()
    }

    static func folder(of path: String) -> String {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
