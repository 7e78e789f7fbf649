internal import Glibc
internal import Posix

extension Network {
    /// SO_NETNS_COOKIE, which older headers lack.
    private static let cookieOption: Int32 = 71

    /// The kernel's number for the network namespace of the calling thread, unique until the next start.
    static func namespaceCookie() throws(SystemError) -> UInt64 {
        let socket = try Socket(family: AF_UNIX, type: SystemCalls.stream)
        return try socket.option(SOL_SOCKET, cookieOption, as: UInt64.self)
    }

    /// A text that is another one after each start of the machine.
    static func bootIdentity() -> String? {
        SystemFiles.text("/proc/sys/kernel/random/boot_id")
    }
}
