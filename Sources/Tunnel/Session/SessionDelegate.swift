package import Wire

// A session has one delegate at a time: the HandshakeDelegate until it is adopted, then the SessionDelegate.

/// What a session tells while it greets. Loop thread only.
package protocol HandshakeDelegate: AnyObject {
    /// The peer's HELLO arrived and its version fits. Ending the session here refuses the peer; to go on,
    /// ``Session/adopt(_:)`` it.
    func greeted(_ hello: Hello)
    /// The session is over before it was adopted.
    func handshakeEnded(_ end: SessionEnd)
}

/// What a session tells its user after the handshake. Loop thread only.
package protocol SessionDelegate: AnyObject {
    /// A frame about listeners, mirrors or settings.
    func received(_ message: ControlMessage)
    /// Frames about listeners came, and bytes that were sent behind them are about to be handed on: what those frames
    /// ask for is to be done now.
    func settle()
    /// OPEN. The delegate gives the stream a handler, or refuses it, before it returns.
    func opened(_ stream: TunnelStream, _ message: OpenMessage)
    /// There is room for control frames: write one about a listener or mirror. Asked after
    /// ``Session/askForControl()``.
    ///
    /// - Parameter withWithdrawals: Whether LISTENER_GONE may be written: not ahead of bytes that were read before, for a
    ///   UDP listener's last answers would find their mirror closed.
    func writeControl(to writer: inout ByteWriter, withWithdrawals: Bool) -> ControlTurn
    /// The session is over. Every stream was told before.
    func sessionEnded(_ end: SessionEnd)
}

/// A frame about listeners, mirrors or settings.
package enum ControlMessage: Equatable, Sendable {
    /// LISTENER.
    case listener(ListenerMessage)
    /// LISTENER_GONE.
    case listenerGone(ListenerID)
    /// SYNC.
    case synced
    /// MIRROR.
    case mirror(MirrorMessage)
    /// POLICY; only a guest gets it.
    case policy(PolicyMessage)
    /// FORWARD; only a guest gets it.
    case forward(ForwardMessage)
    /// FORWARD_GONE; only a guest gets it.
    case forwardGone(ListenerID)
    /// FORWARD_STATE.
    case forwardState(ForwardStateMessage)
}

/// What a delegate did when there was room for one control frame.
package enum ControlTurn: Equatable, Sendable {
    /// It wrote one.
    case wrote
    /// It has one, and may not send it yet: ask again at the end of each turn of the loop.
    case later
    /// It has none but withdrawals.
    case onlyWithdrawals
    /// It has none: do not ask before ``Session/askForControl()``.
    case nothing
}
