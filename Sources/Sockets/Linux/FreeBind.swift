internal import Glibc
internal import Posix

/// Binding addresses that the machine does not have.
enum FreeBind {
    /// IPV6_FREEBIND, which older headers lack.
    private static let freeBindV6: Int32 = 78

    static func enable(on socket: borrowing Socket) throws(SystemError) {
        try socket.setOption(Int32(IPPROTO_IPV6), freeBindV6, Int32(1))
    }
}
