internal import CKernel
public import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// The longest path a Unix socket may have here (unix(7): 108 bytes with the final NUL).
    public static var longestUnixPath: Int {
        MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
    }

    /// Listens on a Unix socket of mode 0600 at `path`.
    ///
    /// A socket left there by a process that died is replaced; one that somebody answers on is not.
    ///
    /// - Throws: ``SystemError``: EADDRINUSE when somebody listens there already, EEXIST when the path
    ///   holds something that is not a socket of ours, ENAMETOOLONG.
    public static func listenUnix(_ path: String) throws(SystemError) -> Socket {
        try SocketFolder.claiming(path) { () throws(SystemError) in
            try removeStaleUnix(path)
            return try bindUnix(path)
        }
    }

    private static func bindUnix(_ path: String) throws(SystemError) -> Socket {
        let socket = try Socket(family: AF_UNIX, type: Int32(SOCK_STREAM.rawValue))
        let raw = socket.descriptor
        // bind(2) creates the file with the mode of the descriptor's inode: set it before, so that the
        // path is never open to others, not even for a moment.
        try retrying("fchmod") { fchmod(raw, 0o600) }
        try retrying("bind") {
            unsafe withUnixAddress(path) { unsafe Socket.bindCall(raw, $0, $1) }
        }
        try retrying("chmod") { unsafe chmod(path, 0o600) }
        try socket.startListening(backlog: 64)
        return socket
    }

    /// Connects to the Unix socket at `path`.
    ///
    /// - Throws: ``SystemError``: `isRefused` or ENOENT when nobody listens there.
    public static func dialUnix(_ path: String) throws(SystemError) -> Dial {
        let socket = try Socket(family: AF_UNIX, type: Int32(SOCK_STREAM.rawValue))
        let isConnected = try socket.startConnect { raw in
            unsafe withUnixAddress(path) { unsafe connect(raw, $0, $1) }
        }
        return Dial(socket: socket, isConnected: isConnected)
    }

    /// The user at the other end of a Unix socket, as it was when the connection was made (SO_PEERCRED).
    public borrowing func peerUser() throws(SystemError) -> UInt32 {
        var uid: uid_t = 0
        var pid: pid_t = 0
        let raw = descriptor
        try retrying("getsockopt") { unsafe ckernel_peer_credentials(raw, &uid, &pid) }
        return uid
    }

    /// Makes room for bulk: 1 MiB to receive and 512 KiB to send, as far as `net.core.{r,w}mem_max` allows.
    ///
    /// What lies in the send buffer can no longer be overtaken. More of it moves bulk no faster, and makes an
    /// echo beside it wait longer.
    public borrowing func enlargeStreamBuffers() {
        // Less is still correct.
        try? setOption(SOL_SOCKET, SO_SNDBUF, Int32(512 << 10))
        try? setOption(SOL_SOCKET, SO_RCVBUF, Int32(1 << 20))
    }

    /// Removes the socket file at `path`, when its listener is done.
    public static func removeUnix(_ path: String) {
        // Somebody may have removed it before; nothing is lost.
        _ = unsafe unlink(path)
    }

    /// Makes room for a Unix socket at `path`: removes one of ours that nobody listens on any more. What this finds
    /// holds only within ``SocketFolder/claiming(_:_:)``.
    ///
    /// - Throws: ``SystemError``: EADDRINUSE when somebody listens there, EEXIST when it is something else than a
    ///   socket of ours.
    public static func removeStaleUnix(_ path: String) throws(SystemError) {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return }
        guard info.st_mode & S_IFMT == S_IFSOCK, info.st_uid == geteuid() else {
            throw SystemError("bind", EEXIST)
        }
        let isAlive: Bool
        do {
            _ = try dialUnix(path)
            isAlive = true
        } catch {
            // EAGAIN: somebody listens, and the queue is full.
            isAlive = error.code != ECONNREFUSED
        }
        if isAlive { throw SystemError("bind", EADDRINUSE) }
        try retrying("unlink") { unsafe unlink(path) }
    }
}

/// Calls `body` with `path` as a `sockaddr_un`; -1 and ENAMETOOLONG when it does not fit.
private func withUnixAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count <= Socket.longestUnixPath, !bytes.contains(0) else {
        errno = ENAMETOOLONG
        return -1
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    return unsafe withSockaddrPointer(to: &address, body)
}
