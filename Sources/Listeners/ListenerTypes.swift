public import Addresses

/// What kind of socket a row is about. Raw values go over the tunnel.
public enum SocketKind: UInt8, Hashable, Sendable, CaseIterable {
    /// A listening TCP socket.
    case tcp = 1
    /// A bound, unconnected UDP socket.
    case udp = 2
    /// A raw IP socket; its port is the IP protocol's number.
    case raw = 3
    /// A ping socket.
    case icmp = 4
    /// A UDP-Lite socket.
    case udplite = 5
    /// An SCTP endpoint.
    case sctp = 6
    /// A packet socket; its port is the Ethernet protocol's number.
    case packet = 7

    /// The protocol in which such a socket can be carried; nil when layer 4 forwarding cannot.
    public var transport: TransportProtocol? {
        switch self {
        case .tcp: .tcp
        case .udp: .udp
        default: nil
        }
    }

    /// As tables and JSON spell it.
    public var name: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        case .raw: "raw"
        case .icmp: "icmp"
        case .udplite: "udplite"
        case .sctp: "sctp"
        case .packet: "packet"
        }
    }
}

/// What makes a listener: all sockets bound alike (SO_REUSEPORT) are one.
public struct ListenerKey: Hashable, Sendable {
    /// The kind of socket.
    public var kind: SocketKind
    /// Where it is bound; IPv4-mapped addresses are IPv4 here.
    public var endpoint: Endpoint
    /// For `[::]` only: whether IPv4 clients are refused.
    public var isV6Only: Bool

    /// Describes a listener.
    public init(kind: SocketKind, endpoint: Endpoint, isV6Only: Bool) {
        self.kind = kind
        self.endpoint = endpoint
        self.isV6Only = isV6Only
    }
}

/// The process behind a socket, or one of them.
public struct SocketOwner: Hashable, Sendable {
    /// Its number in our namespace.
    public var pid: Int32
    /// Its name (`/proc/PID/comm`), printable.
    public var command: String
    /// The container it runs in, nil outside of containers.
    public var container: Container?
}

/// One listener.
public struct Listener: Hashable, Sendable {
    /// Where and what.
    public var key: ListenerKey
    /// The user that made the socket.
    public var uid: UInt32
    /// The socket's inode; the first one's where several are bound alike.
    public var inode: UInt64
    /// The process behind it, once it is known and if it may be seen.
    public var owner: SocketOwner?
}

/// One difference between two scans.
public enum ListenerChange: Equatable, Sendable {
    /// A listener that was not there.
    case appeared(Listener)
    /// The same place, but its owner was learnt, or it was closed and opened again in between.
    case updated(Listener)
    /// A listener that is gone.
    case vanished(ListenerKey)
}

/// What a scan brought.
public struct ListenerChanges: Sendable {
    /// The differences to what was delivered before.
    public var changes: [ListenerChange]
    /// Whether this is the first complete scan: everything there is.
    public var isFirst: Bool
}

/// How to watch.
public struct WatchOptions: Hashable, Sendable {
    /// How old a UDP socket on an ephemeral port must be to count, in milliseconds; nil: it never does.
    public var udpEphemeralAfter: UInt64? = 2_000
    /// A fixed interval between scans in milliseconds; nil: 20 to 100, by how lively it is.
    public var fixedInterval: UInt64?
    /// Whether the kernel may be asked to wake us.
    public var usesHints = true

    /// The defaults.
    public init() {}
}
