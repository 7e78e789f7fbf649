// # How many datagrams are on their way
//
// A stream's bytes wait for credit. Datagrams need none, and a flood of small ones would fill the tunnel: thousands
// fit into the buffers between the two programs, each costs the peer a system call, and a byte of a TCP stream would
// wait behind all of them.
//
// So the peer counts the datagrams that it has taken and says so (TAKEN), and no more than a window's worth are sent
// ahead of that. While bytes of TCP streams are carried, too, the window is narrow: it is how many datagrams such a
// byte may have to wait for. Otherwise it is wide enough never to be felt. Datagrams beyond it stay in the queues of
// their flows, where the oldest makes room and is counted.

/// How many datagrams may be sent before the peer says that it took earlier ones.
struct DatagramPace {
    /// The window without bytes of streams, and beside them.
    static let wide: UInt64 = 4_096
    static let narrow: UInt64 = 32
    /// After how many datagrams the receiver says so, with its next frame; after twice as many at once. Less than the
    /// narrow window.
    static let step: UInt64 = 16
    /// For how many TAKEN after the last byte of a stream the window stays narrow.
    private static let memory = 128

    /// Whether the peer sends TAKEN.
    var isOn = false
    private var sent: UInt64 = 0
    private var taken: UInt64 = 0
    private var narrowFor = 0

    /// How many may be on their way.
    private var window: UInt64 { narrowFor > 0 ? Self.narrow : Self.wide }

    /// Whether one more datagram may be sent.
    var isOpen: Bool { !isOn || sent &- taken < window }

    /// A datagram was sent.
    mutating func sentOne() { sent &+= 1 }

    /// A stream's bytes were carried, either way.
    mutating func carriedBytes() { narrowFor = Self.memory }

    /// The peer took so many datagrams since the session began.
    ///
    /// - Returns: Whether it says something new that can be true.
    mutating func took(_ count: UInt64) -> Bool {
        guard count > taken, count <= sent else { return false }
        taken = count
        if narrowFor > 0 { narrowFor -= 1 }
        return true
    }
}
