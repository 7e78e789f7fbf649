/// Decides when what was read from applications may leave. Loop thread only.
///
/// The promise that needs it is docs/protocol.md's, "Order": a LISTENER frame leaves before any byte that was read after
/// that listener was there. Only the watcher knows what listens, and it may have to look first.
package protocol SendGate: AnyObject {
    /// Whether what was read until now may leave. If not, the session asks again at the end of each turn.
    ///
    /// - Returns: `held` until the gate is sure; `openedWithNews` when it was held and there may be frames of the
    ///   delegate that go first.
    func check() -> SendGateVerdict
}

/// What a ``SendGate`` says.
package enum SendGateVerdict: Sendable {
    /// It may leave.
    case open
    /// It waits.
    case held
    /// It may leave behind the delegate's frames.
    case openedWithNews
}
