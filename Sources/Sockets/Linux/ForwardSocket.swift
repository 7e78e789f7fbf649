internal import CKernel
internal import Glibc
package import Posix
package import TwinportModel

// # Unix sockets of forwards
//
// A forward's socket may be another user's, in that user's folder, and is made by root. Whoever can write the folder could
// put a link where the socket is to be, before it is made or while it is given away, and have root give away another file.
// So
//
//     - every folder from / on must be root's, ours, or the user's who is to own the socket, and closed to all others, or
//       sticky; and so must be every link on the way;
//     - as soon as one of them is the user's own, everything is done as that user (setfsuid(2)), with no more rights than
//       the user has; otherwise only root, and we, could change what is on the way.

/// Makes, looks for, dials and removes the Unix sockets of forwards. Any thread; everything may block as files do.
package enum ForwardSocket {
    /// Why a socket cannot be made.
    package struct Problem: Error, Equatable, Sendable {
        /// The errno; EPERM where the place is not safe.
        package let code: Int32
        /// In words, with the file that is meant.
        package let text: String

        init(_ code: Int32, _ text: String) {
            self.code = code
            self.text = text
        }

        fileprivate init(_ error: SystemError, _ path: String) {
            self.init(error.code, "\(path): \(SystemError.text(of: error.code))")
        }
    }

    /// Makes a socket that listens at `path`. One that a dead program left there is replaced.
    ///
    /// - Throws: ``Problem``: EADDRINUSE when something listens there, EEXIST when another file is there.
    package static func make(
        _ path: String, _ access: SocketAccess
    ) throws(Problem) -> Socket {
        let folder = parent(of: path)
        let trusted = Set([0, ThisProcess.userID]).union(access.uid.map { [$0] } ?? [])
        let missing = try check(folder, trusted)
        let there = missing.first.map(parent) ?? folder
        var actor = try actor(in: there, trusted, access)
        defer { if actor != nil { _ = ckernel_act_as(geteuid(), getegid()) } }
        if let user = actor, ckernel_act_as(user.uid, user.gid) != 0 {
            actor = nil
            throw Problem(EPERM, "user \(user.uid) cannot be acted for")
        }
        let isShared = access.uid.map { $0 != ThisProcess.userID } ?? false
        for place in missing { try makeFolder(place, isShared ? 0o755 : 0o700) }
        return try SocketFolder.claiming(path, waits: false) { () throws(Problem) in
            try removeStale(path, trusted)
            return try bind(path, access, isActing: actor != nil)
        }
    }

    /// Which file `path` leads to.
    ///
    /// - Throws: ``SystemError``: ENOENT when there is none, ENOTSOCK when it is no socket.
    package static func look(_ path: String) throws(SystemError) -> FileIdentity {
        var info = stat()
        try retrying("stat") { unsafe stat(path, &info) }
        guard info.st_mode & S_IFMT == S_IFSOCK else { throw SystemError("stat", ENOTSOCK) }
        return FileIdentity(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
    }

    // MARK: The way to it

    private static func parent(of path: String) -> String {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// `/`, `/run`, `/run/user`, …
    private static func steps(to folder: String) -> [String] {
        var steps = ["/"]
        var path = ""
        for name in folder.split(separator: "/") {
            path += "/\(name)"
            steps.append(path)
        }
        return steps
    }

    /// Checks the folders that are there, and the links among them.
    ///
    /// - Returns: The folders that are missing.
    private static func check(
        _ folder: String, _ trusted: Set<UInt32>
    ) throws(Problem) -> [String] {
        var missing: [String] = []
        for step in steps(to: folder) {
            guard let found = SystemFiles.owner(of: step) else {
                missing.append(step)
                continue
            }
            guard trusted.contains(found.user) else {
                throw Problem(
                    EPERM,
                    "\(step) belongs to user \(found.user), who could put another file there")
            }
            let isOpen = found.mode & 0o022 != 0 && found.mode & 0o1000 == 0
            if found.kind == .folder, isOpen {
                throw Problem(
                    EPERM, "\(step) can be written by others: chmod go-w \(step)")
            }
        }
        return missing
    }

    /// Checks where a folder really is, and says whose rights are to be used in it; nil: this program's.
    private static func actor(
        in folder: String, _ trusted: Set<UInt32>, _ access: SocketAccess
    ) throws(Problem) -> (uid: UInt32, gid: UInt32)? {
        let target = SystemFiles.resolved(folder)
        guard try check(target, trusted).isEmpty, SystemFiles.kind(at: target) == .folder else {
            throw Problem(ENOTDIR, "\(folder) is not a folder")
        }
        let way = steps(to: folder) + steps(to: target)
        guard let uid = access.uid, uid != 0, uid != ThisProcess.userID,
            way.contains(where: { SystemFiles.owner(of: $0)?.user == uid })
        else { return nil }
        var info = stat()
        guard unsafe stat(folder, &info) == 0 else {
            throw Problem(errno, "\(folder): \(SystemError.text(of: errno))")
        }
        return (uid, access.gid ?? info.st_gid)
    }

    private static func makeFolder(_ path: String, _ mode: UInt32) throws(Problem) {
        do {
            try SystemFiles.makeDirectory(path)
            try SystemFiles.setMode(mode, of: path)
        } catch {
            throw Problem(error, path)
        }
    }

    // MARK: The socket

    private static func removeStale(_ path: String, _ trusted: Set<UInt32>) throws(Problem) {
        guard let found = SystemFiles.owner(of: path) else { return }
        guard found.kind == .socket else { throw Problem(EEXIST, "\(path) is no socket") }
        guard trusted.contains(found.user) else {
            throw Problem(EEXIST, "\(path) belongs to user \(found.user)")
        }
        do throws(SystemError) {
            _ = try Socket.dialUnix(path)
        } catch {
            // Anything else may be the answer of somebody who listens, as EAGAIN is.
            if error.isRefused { return Socket.removeUnix(path) }
        }
        throw Problem(EADDRINUSE, "\(path) is in use: a program listens there")
    }

    private static func bind(
        _ path: String, _ access: SocketAccess, isActing: Bool
    ) throws(Problem) -> Socket {
        do throws(SystemError) {
            let socket = try Socket.boundUnix(to: path, mode: UInt32(access.mode))
            do throws(SystemError) {
                if SystemFiles.owner(of: path)?.mode != UInt32(access.mode) {
                    try SystemFiles.setMode(UInt32(access.mode), of: path)
                }
                if !isActing { try give(path, access) }
                try socket.startListening(backlog: 4_096)
            } catch {
                Socket.removeUnix(path)
                throw error
            }
            return socket
        } catch {
            throw Problem(error, path)
        }
    }

    /// Nobody but root and this program can change what is on the way to `path`.
    private static func give(_ path: String, _ access: SocketAccess) throws(SystemError) {
        guard access.uid != nil || access.gid != nil else { return }
        let (uid, gid) = (access.uid ?? .max, access.gid ?? .max)
        try retrying("lchown") { unsafe lchown(path, uid, gid) }
    }
}
