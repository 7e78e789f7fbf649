package import Noise

/// Whose session it is. A session, and the mirrors that it left, belong to one program at the other end: a newcomer
/// that is not it gets neither before its time. Pure.
package struct SessionOwner: Equatable, Sendable {
    /// Where a connection comes from, as far as the kernel tells.
    package enum Origin: Equatable, Sendable {
        /// The user at the other end of a Unix socket.
        case user(UInt32)
        /// The machine at the other end of a vsock connection.
        case machine(UInt32)
        /// The embedder, which chose the connection.
        case embedder
    }

    /// The key that it proved to have.
    package let key: TunnelKey?
    /// HELLO's random number of one run of a program. Only the two ends of a session know it.
    package let instance: UInt64
    /// Where it connects from; nil where that says nothing.
    package let origin: Origin?

    /// Describes an owner.
    package init(key: TunnelKey?, instance: UInt64, origin: Origin?) {
        self.key = key
        self.instance = instance
        self.origin = origin
    }

    /// Whether `other` has a right to what this one has: it proved the same key, or it is the same run of a program at
    /// the same place.
    package func isSame(as other: SessionOwner) -> Bool {
        if let key { return key == other.key }
        return other.key == nil && instance == other.instance && origin == other.origin
    }
}
