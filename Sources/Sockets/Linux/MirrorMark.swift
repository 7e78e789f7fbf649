internal import Glibc
internal import Posix

// How a mirror is told from a program's listener, by every Twinport on the machine: another process, another user's,
// another guest's. sock_diag(7) shows some options of every socket to everybody (INET_DIAG_SOCKOPT, Linux 5.10).
// A mirror has three of them that mean nothing to it, and that no other program combines: multicast is neither looped
// nor taken from groups that others joined, and a bind without a port is late.

extension Socket {
    /// Marks a socket as a mirror, before it is listed as a listener. Without effect on what it does.
    package borrowing func markAsMirror() {
        // Without the mark another Twinport would mirror it onward, as before.
        try? setOption(Int32(IPPROTO_IP), bindAddressNoPort, Int32(1))
        try? setOption(Int32(IPPROTO_IP), multicastAll, Int32(0))
        try? setOption(Int32(IPPROTO_IP), multicastLoop, Int32(0))
    }

    /// Marks a bound socket as that of a page, which is mirrored nowhere either: a fourth option, which means nothing to a
    /// socket that is bound.
    package borrowing func markAsPage() {
        markAsMirror()
        try? setOption(Int32(IPPROTO_IP), freeBind, Int32(1))
    }
}

// ip(7). Older headers lack the first.
private let freeBind: Int32 = 15
private let bindAddressNoPort: Int32 = 24
private let multicastLoop: Int32 = 34
private let multicastAll: Int32 = 49
