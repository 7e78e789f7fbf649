// What ``LoopWatch`` and ``DatagramLoopWatch`` have in common. Their experiments differ: connections end, and datagrams have
// copies.

/// What to do with a connection, or a flow of UDP, that begins at a mirror.
enum LoopArrival: Equatable {
    /// Pass it on.
    case pass
    /// Hold it for so many milliseconds, then tell the watch; a later answer replaces the time.
    case hold(UInt64)
    /// The experiment is over: pass on what is held, and this one.
    case passAll
    /// It is proved: refuse it, and end the flows of this listener that wait.
    case loop
}

/// How much it takes to suspect a loop: twice as much after each suspicion that was wrong. Pure.
struct LoopSuspicion {
    /// More is never needed.
    private static let most = 1_024

    /// How many connections, or flows.
    private(set) var needed: Int

    mutating func wasWrong() { needed = min(2 * needed, Self.most) }
}
