/// What this implementation grants a peer in its HELLO. The peer keeps to it; more ends the session.
package enum PeerLimits {
    /// How many streams the peer may have open towards us.
    package static let streams = UInt32(StreamID.maxSlot)
    /// How many of the peer's listeners are mirrored; it may advertise twice as many.
    package static let listeners: UInt32 = 8_192
    /// How many bytes the peer may send on a new stream before the first WINDOW.
    package static let initialWindow: UInt32 = 32_768
}
