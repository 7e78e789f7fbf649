internal import Glibc
internal import Posix

/// Binding the address of another machine, as a proxy that hands on its client's address does. The kernel wants
/// CAP_NET_ADMIN or CAP_NET_RAW for it.
enum ForeignBind {
    /// IP_TRANSPARENT in ip(7), and IPV6_TRANSPARENT, which older headers lack.
    private static let transparent: Int32 = 19
    private static let transparentV6: Int32 = 75
    /// IP_BIND_ADDRESS_NO_PORT.
    private static let lateport: Int32 = 24

    static func enable(on socket: borrowing Socket, isIPv6: Bool) throws(SystemError) {
        if isIPv6 {
            try socket.setOption(Int32(IPPROTO_IPV6), transparentV6, Int32(1))
        } else {
            try socket.setOption(Int32(IPPROTO_IP), transparent, Int32(1))
        }
    }

    /// Has connect(2) choose the port of a socket that is bound to port 0: only then does the kernel know what else the
    /// port may be used for.
    static func chooseLate(on socket: borrowing Socket) {
        // Without it the kernel runs out of ports sooner.
        try? socket.setOption(Int32(IPPROTO_IP), lateport, Int32(1))
    }
}
