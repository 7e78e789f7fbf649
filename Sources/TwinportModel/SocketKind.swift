/// What kind of socket a listener is. Raw values go over the tunnel.
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
    /// A Unix stream socket: the end of a forward.
    case unix = 8

    /// The protocol in which such a socket can be carried; nil when layer 4 forwarding cannot.
    public var transport: TransportProtocol? {
        switch self {
        case .tcp: .tcp
        case .udp: .udp
        default: nil
        }
    }

    /// The word that tables and JSON use.
    public var name: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        case .raw: "raw"
        case .icmp: "icmp"
        case .udplite: "udplite"
        case .sctp: "sctp"
        case .packet: "packet"
        case .unix: "unix"
        }
    }

    /// The kind with this ``name``; nil for any other word.
    public init?(name: some StringProtocol) {
        guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = kind
    }
}
