/// Something that happened, in order.
public struct Event: Equatable, Sendable {
    /// Counts events from 1, without a gap: a reader that misses one knows it.
    public var sequence: UInt64
    /// Milliseconds since 1970.
    public var time: Int
    /// What happened.
    public var kind: Kind

    /// Describes an event.
    public init(sequence: UInt64, time: Int, kind: Kind) {
        self.sequence = sequence
        self.time = time
        self.kind = kind
    }

    /// What happened.
    public enum Kind: Equatable, Sendable {
        /// A listener of either machine appeared, or its mirror's state, reason or owner is another.
        case port(PortSnapshot)
        /// A listener is gone, and its mirror with it.
        case portGone(Direction, SocketKind, Endpoint)
        /// A session with this peer began.
        case sessionUp(PeerIdentity)
        /// The session ended, and why.
        case sessionDown(String)
        /// There is no session, and why; said once until the reason is another.
        case tunnelTrouble(String)
        /// The tunnel stayed away for ten seconds: mirrors were closed.
        case mirrorsClosed
        /// A limit was reached: the counter's name in ``Counters/named``, and how often since it was last said.
        case limit(counter: String, times: UInt64)
    }
}

/// The other end of the tunnel, as its HELLO says.
public struct PeerIdentity: Equatable, Sendable {
    /// The machine's name.
    public var hostname: String
    /// The operating system.
    public var os: String
    /// Its release.
    public var kernel: String
    /// The program's version.
    public var program: String
    /// Tells one run of the program from the next.
    public var instance: UInt64

    /// Describes a peer.
    public init(hostname: String, os: String, kernel: String, program: String, instance: UInt64) {
        self.hostname = hostname
        self.os = os
        self.kernel = kernel
        self.program = program
        self.instance = instance
    }
}
