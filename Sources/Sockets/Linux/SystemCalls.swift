internal import CKernel
internal import Glibc
internal import Posix

/// The calls and constants of sockets that every system has, in Linux's form.
enum SystemCalls {
    /// SOCK_STREAM as a number.
    static let stream = Int32(SOCK_STREAM.rawValue)
    /// SOCK_DGRAM as a number.
    static let datagram = Int32(SOCK_DGRAM.rawValue)

    /// socket(2), non-blocking and close-on-exec from the start.
    static func socket(_ family: Int32, _ type: Int32) -> Int32 {
        Glibc.socket(family, type | Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }

    /// accept4(2): the connection is non-blocking and close-on-exec from the start.
    static func accept(_ raw: Int32) -> Int32 {
        ckernel_accept(raw, nil, nil)
    }

    /// The user at the other end of a Unix socket (SO_PEERCRED).
    static func peerUser(_ raw: Int32) throws(SystemError) -> UInt32 {
        var uid: uid_t = 0
        var pid: pid_t = 0
        try retrying("getsockopt") { unsafe ckernel_peer_credentials(raw, &uid, &pid) }
        return uid
    }
}
