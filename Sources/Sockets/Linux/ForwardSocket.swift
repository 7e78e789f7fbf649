internal import CKernel
internal import Glibc
package import Posix
package import TwinportModel

// # Unix sockets of forwards
//
// A forward's socket may be another user's, in that user's folder, and is made by root. Whoever can write the folder could
// put a link where the socket is to be, before it is made or while it is given away, and have root give away another file.
// A service may be in a user's folder, too, where a link may lead to a socket that only root may use. So
//
//     - every folder from / on in which a socket is made must be root's, ours, or the user's who is to own the socket, and
//       closed to all others, or sticky; and so must be every link on the way. As soon as one of them is the user's own,
//       everything is done as that user, with no more rights than the user has; otherwise only root, and we, could change
//       what is on the way;
//     - what a path leads to is dialled if nobody else has a hand in the way, or it is of a user who has.
//
// FileWay.swift goes the ways. A socket is bound by its path, which is the address that programs see (getpeername(2)), as
// whoever acts: at worst a user has a socket made where that user could make one. Everything else is done by descriptor.

/// Makes, looks for, dials and removes the Unix sockets of forwards. Any thread; everything may block as files do.
package enum ForwardSocket {
    package typealias Problem = PathProblem

    /// A socket that listens, and its file.
    package struct Made: ~Copyable {
        package let socket: Socket
        package let file: FileIdentity
    }

    /// Makes a socket that listens at `path`. One that a dead program left there is replaced.
    ///
    /// - Throws: ``PathProblem``: EADDRINUSE when something listens there, EEXIST when another file is there.
    package static func make(_ path: String, _ access: SocketAccess) throws(Problem) -> Made {
        let trusted = trusted(access)
        let way = try FileWay(path, trusted: trusted, group: access.gid)
        defer { way.leave() }
        try way.walk()
        let isShared = access.uid.map { $0 != ThisProcess.userID } ?? false
        try way.makeFolders(mode: isShared ? 0o755 : 0o700)
        return try SocketFolder.claiming(path, waits: false) { () throws(Problem) in
            try removeStale(path, way, trusted)
            return try bind(path, way, access)
        }
    }

    /// Which socket `path` leads to.
    ///
    /// - Throws: ``PathProblem``: ENOENT when there is none, ENOTSOCK when it is no socket, EPERM when another user had it
    ///   lead there.
    package static func look(_ path: String) throws(Problem) -> FileIdentity {
        try find(path).file.identity
    }

    /// Connects to the socket that `path` leads to.
    ///
    /// - Throws: ``PathProblem``: as ``look(_:)``; `isRefused` when nobody listens.
    package static func dial(_ path: String) throws(Problem) -> Socket {
        let (way, file) = try find(path)
        let socket = try PathProblem.at(path) { () throws(SystemError) in
            var dial = try Socket.dialUnix(file.path)
            guard let socket = dial.takeSocket() else { throw SystemError("connect", EAGAIN) }
            return socket
        }
        let listener = try PathProblem.at(path) { () throws(SystemError) in
            try socket.peerUser()
        }
        guard way.hands.permits(listener: listener) else { throw another(path) }
        return socket
    }

    /// Removes a socket that was made, if it is still there.
    static func remove(_ path: String, _ access: SocketAccess, _ made: FileIdentity) {
        // The way may be another one by now. It is walked with the same care, as the same user.
        guard let way = try? FileWay(path, trusted: trusted(access), group: access.gid) else {
            return
        }
        defer { way.leave() }
        guard (try? way.walk()) != nil, way.isWhole, let file = try? way.last(), file.isSocket,
            file.identity == made
        else { return }
        way.remove(file)
    }

    // MARK: The way to it

    private static func trusted(_ access: SocketAccess) -> Set<UInt32> {
        Set([0, ThisProcess.userID]).union(access.uid.map { [$0] } ?? [])
    }

    private static func find(_ path: String) throws(Problem) -> (way: FileWay, file: PathFile) {
        let way = try FileWay(path)
        let file = try way.find()
        guard file.isSocket else { throw Problem(ENOTSOCK, .noSocket(path)) }
        guard way.hands.permits(file) else { throw another(path) }
        return (way, file)
    }

    private static func another(_ path: String) -> Problem {
        Problem(EPERM, .unsafeWay(path))
    }

    // MARK: The socket

    private static func removeStale(
        _ path: String, _ way: FileWay, _ trusted: Set<UInt32>
    ) throws(Problem) {
        guard let found = try way.last() else { return }
        guard found.isSocket else { throw Problem(EEXIST, .noSocket(path)) }
        guard trusted.contains(found.info.st_uid) else {
            throw Problem(EEXIST, .anothersSocket(path, user: found.info.st_uid))
        }
        do throws(SystemError) {
            _ = try Socket.dialUnix(found.path)
        } catch {
            // Anything else may be the answer of somebody who listens, as EAGAIN is.
            if error.isRefused { return way.remove(found) }
        }
        throw Problem(EADDRINUSE, .pathInUse(path))
    }

    private static func bind(
        _ path: String, _ way: FileWay, _ access: SocketAccess
    ) throws(Problem) -> Made {
        let mode = UInt32(access.mode)
        let socket = try PathProblem.at(path) { () throws(SystemError) in
            try Socket.boundUnix(to: path, mode: mode)
        }
        let file = try way.own { $0.isSocket }
        do {
            try file.set(mode: mode)
            if way.actor == nil { try give(file, access) }
            try socket.startListening(backlog: 4_096)
        } catch {
            way.remove(file)
            throw Problem(error, path)
        }
        return Made(socket: socket, file: file.identity)
    }

    /// Nobody but root and this program can change what is on the way to it.
    private static func give(_ file: PathFile, _ access: SocketAccess) throws(SystemError) {
        guard access.uid != nil || access.gid != nil else { return }
        let raw = file.descriptor.raw
        try retrying("chown") { ckernel_give(raw, access.uid ?? .max, access.gid ?? .max) }
    }
}
