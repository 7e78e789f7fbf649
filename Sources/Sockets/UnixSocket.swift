internal import CKernel
package import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// The longest path a Unix socket may have here (unix(7): 108 bytes with the final NUL).
    package static var longestUnixPath: Int {
        MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
    }

    /// Listens on a Unix socket of mode 0600 at `path`.
    ///
    /// A socket that a dead process left there is replaced; one with a live listener is not.
    ///
    /// - Parameter waits: False where nothing may block, not even until another program has made its socket.
    /// - Throws: ``SystemError``: EADDRINUSE when there is a listener already, EEXIST when the path
    ///   holds something that is not a socket of ours, ENAMETOOLONG.
    package static func listenUnix(
        _ path: String, waits: Bool = true
    ) throws(SystemError) -> Socket {
        try SocketFolder.claiming(path, waits: waits) { () throws(SystemError) in
            try removeStaleUnix(path)
            return try bindUnix(path)
        }
    }

    /// Creates a Unix socket bound to `path`, whose file has no more rights than `mode`.
    static func boundUnix(to path: String, mode: UInt32) throws(SystemError) -> Socket {
        let socket = try Socket(family: AF_UNIX, type: SystemCalls.stream)
        let raw = socket.descriptor
        // bind(2) creates the file with the mode of the descriptor's inode, less the umask.
        try retrying("fchmod") { fchmod(raw, mode_t(mode)) }
        try retrying("bind") {
            unsafe withUnixAddress(path) { unsafe Socket.bindCall(raw, $0, $1) }
        }
        return socket
    }

    private static func bindUnix(_ path: String) throws(SystemError) -> Socket {
        let socket = try Socket(family: AF_UNIX, type: SystemCalls.stream)
        let raw = socket.descriptor
        // bind(2) creates the file with the mode of the descriptor's inode, less the umask: set it before, so that the
        // path is never open to others, not even for a moment. A sandbox may forbid that; its umask does it then.
        let isSet = fchmod(raw, 0o600) == 0
        try retrying("bind") {
            unsafe withUnixAddress(path) { unsafe Socket.bindCall(raw, $0, $1) }
        }
        guard isSet || SystemFiles.owner(of: path).map({ $0.mode & 0o077 == 0 }) == true else {
            removeUnix(path)
            throw SystemError("fchmod", EPERM)
        }
        try socket.startListening(backlog: 64)
        return socket
    }

    /// Connects to the Unix socket at `path`.
    ///
    /// - Throws: ``SystemError``: `isRefused` or ENOENT when there is no listener.
    package static func dialUnix(_ path: String) throws(SystemError) -> Dial {
        let socket = try Socket(family: AF_UNIX, type: SystemCalls.stream)
        let isConnected = try socket.startConnect { raw in
            unsafe withUnixAddress(path) { unsafe connect(raw, $0, $1) }
        }
        return Dial(socket: socket, isConnected: isConnected)
    }

    /// The user at the other end of a Unix socket, as it was when the connection was made.
    package borrowing func peerUser() throws(SystemError) -> UInt32 {
        try SystemCalls.peerUser(descriptor)
    }

    /// Makes room for bulk: 1 MiB to receive and 512 KiB to send, as far as `net.core.{r,w}mem_max` allows.
    ///
    /// Later frames cannot overtake bytes in the send buffer. A larger one moves bulk no faster, and delays small
    /// messages that share the socket.
    package borrowing func enlargeStreamBuffers() {
        // Less is still correct.
        try? setOption(SOL_SOCKET, SO_SNDBUF, Int32(512 << 10))
        try? setOption(SOL_SOCKET, SO_RCVBUF, Int32(1 << 20))
    }

    /// Removes the socket file at `path`, when its listener is done.
    package static func removeUnix(_ path: String) {
        // It may be gone already; nothing is lost.
        _ = unsafe unlink(path)
    }

    /// Removes the socket file at `path` if it is still the one that was made there.
    package static func removeUnix(_ path: String, ifStill made: FileIdentity?) {
        if let made, SystemFiles.identity(of: path) == made { removeUnix(path) }
    }

    /// Makes room for a Unix socket at `path`: removes one of ours that has no listener any more. The check holds
    /// only within ``SocketFolder/claiming(_:_:)``.
    ///
    /// - Throws: ``SystemError``: EADDRINUSE when it has a listener, EEXIST when it is not a socket of ours.
    package static func removeStaleUnix(_ path: String) throws(SystemError) {
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
            // EAGAIN: there is a listener, and its queue is full.
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
