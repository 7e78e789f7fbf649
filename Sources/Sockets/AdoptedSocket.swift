package import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// Takes over a connected stream socket that was made elsewhere: duplicates its descriptor, makes the duplicate
    /// non-blocking and close-on-exec, and closes the original. A descriptor that is taken over twice is then an error
    /// instead of two owners.
    ///
    /// - Throws: ``SystemError``: EBADF, ENOTSOCK, EPROTOTYPE when it is not a stream socket, ENOTCONN when it is not
    ///   connected; the descriptor stays the caller's then.
    package static func adopting(_ descriptor: Int32) throws(SystemError) -> Socket {
        var type: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        try retrying("getsockopt") {
            unsafe getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length)
        }
        guard type == SystemCalls.stream else { throw SystemError("getsockopt", EPROTOTYPE) }
        var name = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        try retrying("getpeername") {
            unsafe withUnsafeMutablePointer(to: &name) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe getpeername(descriptor, $0, &size)
                }
            }
        }
        let flags = try retrying("fcntl") { fcntl(descriptor, F_GETFL) }
        let socket = Socket(
            taking: try retrying("fcntl") { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) })
        let raw = socket.descriptor
        try retrying("fcntl") { fcntl(raw, F_SETFL, flags | O_NONBLOCK) }
        _ = close(descriptor)
        return socket
    }

    /// A second descriptor of the socket, for a library that owns its own. Close-on-exec.
    package borrowing func duplicate() throws(SystemError) -> Int32 {
        let raw = descriptor
        return try retrying("fcntl") { fcntl(raw, F_DUPFD_CLOEXEC, 0) }
    }
}
