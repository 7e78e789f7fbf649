/// A TCP or UDP port number in host order.
public typealias Port = UInt16

/// An address and a port: where a socket is bound, or where one is reached.
public struct Endpoint: Hashable, Sendable {
    /// The address.
    public var address: IPAddress
    /// The port in host order.
    public var port: Port

    /// Joins an address and a port.
    public init(_ address: IPAddress, _ port: Port) {
        self.address = address
        self.port = port
    }

    /// The same endpoint with an IPv4-mapped address turned into IPv4.
    public var unmapped: Endpoint { Endpoint(address.unmapped, port) }
}

/// The two protocols that layer 4 forwarding carries. Raw values are IP protocol numbers.
public enum TransportProtocol: UInt8, Hashable, Sendable, CaseIterable {
    /// TCP.
    case tcp = 6
    /// UDP.
    case udp = 17

    /// `tcp` or `udp`, as settings, tables and JSON spell it.
    public var name: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        }
    }
}
