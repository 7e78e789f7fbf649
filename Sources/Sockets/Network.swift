internal import CKernel
internal import Posix

#if canImport(Glibc)
    internal import Glibc
#endif

/// The network that this process is in.
public enum Network {
    /// A number for the network namespace, another one on each machine and after each start of it: two programs
    /// that have the same share their sockets' addresses. 0 where the system does not tell (Linux does from 5.14 on).
    public static let identity: UInt64 = {
        #if os(Linux)
            guard let cookie = try? Socket.namespaceCookie(),
                let boot = SystemFiles.text("/proc/sys/kernel/random/boot_id")
            else { return 0 }
            // FNV-1a: it tells apart, it hides nothing.
            let start: UInt64 = 0xcbf2_9ce4_8422_2325
            let bytes =
                Array(boot.utf8) + (0..<8).map { UInt8(truncatingIfNeeded: cookie >> ($0 * 8)) }
            return max(1, bytes.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
        #else
            return 0
        #endif
    }()
}

#if os(Linux)
    extension Socket {
        /// SO_NETNS_COOKIE, which older headers lack.
        private static let cookieOption: Int32 = 71

        fileprivate static func namespaceCookie() throws(SystemError) -> UInt64 {
            let socket = try Socket(family: AF_UNIX, type: Int32(SOCK_STREAM.rawValue))
            return try socket.option(SOL_SOCKET, cookieOption, as: UInt64.self)
        }
    }
#endif
