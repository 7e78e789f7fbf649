/// What a peer understands beyond the frames that every peer of version 1 knows: the optional bits of HELLO. A side
/// sends nothing of a feature to a peer without its bit.
package struct Features: OptionSet, Sendable {
    /// The bits as sent.
    package let rawValue: UInt32

    /// Wraps bits, known or not.
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// MOVED.
    package static let moved = Features(rawValue: 1)
    /// KEEPALIVE.
    package static let keepAlive = Features(rawValue: 2)
    /// URGENT.
    package static let urgent = Features(rawValue: 4)
    /// A LISTENER_GONE for each LISTENER costs nothing of the rate of listener changes.
    package static let freeGone = Features(rawValue: 8)
    /// Under a cipher the keys of the records are replaced now and then.
    package static let rekey = Features(rawValue: 16)
    /// TAKEN.
    package static let taken = Features(rawValue: 256)
    /// LISTENER tells the rule that publishes a port.
    package static let published = Features(rawValue: 1 << 11)
    /// FORWARD, FORWARD_GONE and FORWARD_STATE.
    package static let forwards = Features(rawValue: 1 << 12)
    /// PLACED_LISTENER.
    package static let placed = Features(rawValue: 1 << 13)

    /// An empty record under a cipher: the next ones are under another.
    package static let otherCipher = Features(rawValue: 1 << 16)
    /// Not understanding, but a wish: with this side's processor the other cipher is quicker.
    package static let wantsOtherCipher = Features(rawValue: 1 << 17)

    /// What this code understands.
    package static let ours: Features = [
        .moved, .keepAlive, .urgent, .freeGone, .rekey, .taken, .published, .forwards, .placed,
        .otherCipher,
    ]

    /// What both sides of a session understand, and what one of them wishes.
    package func agreed(with theirs: Features) -> Features {
        intersection(theirs).union(union(theirs).intersection(.wantsOtherCipher))
    }
}
