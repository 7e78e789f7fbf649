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
    package static let published = Features(rawValue: 2_048)

    /// What this code understands.
    package static let ours: Features = [
        .moved, .keepAlive, .urgent, .freeGone, .rekey, .taken, .published,
    ]
}
