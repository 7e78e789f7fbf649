/// Ports of one protocol, or of both: `tcp/22`, `udp/5000-5010`, `tcp/*`, `*/631`.
public struct PortRule: Hashable, Sendable, CustomStringConvertible {
    /// The protocol, nil for both.
    public let transport: TransportProtocol?
    /// The ports.
    public let ports: ClosedRange<Port>

    /// Builds a rule.
    public init(transport: TransportProtocol?, ports: ClosedRange<Port>) {
        self.transport = transport
        self.ports = ports
    }

    /// Reads a rule; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let ports = Self.ports(parts[1]) else { return nil }
        switch parts[0] {
        case "tcp": self.init(transport: .tcp, ports: ports)
        case "udp": self.init(transport: .udp, ports: ports)
        case "*": self.init(transport: nil, ports: ports)
        default: return nil
        }
    }

    /// Reads `80`, `5000-5010` or `*`.
    static func ports(_ text: Substring) -> ClosedRange<Port>? {
        if text == "*" { return 1...65_535 }
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
        guard let first = ends.first.flatMap(number), let last = ends.last.flatMap(number),
            ends.count <= 2, first <= last
        else { return nil }
        return first...last
    }

    private static func number(_ text: Substring) -> Port? {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let port = Port(text), port > 0
        else { return nil }
        return port
    }

    /// The rule as it is written.
    public var description: String {
        let name = transport?.name ?? "*"
        if ports == 1...65_535 { return "\(name)/*" }
        return ports.count == 1
            ? "\(name)/\(ports.lowerBound)" : "\(name)/\(ports.lowerBound)-\(ports.upperBound)"
    }

    /// Whether the rule is about this protocol and port.
    package func matches(_ transport: TransportProtocol, _ port: Port) -> Bool {
        ports.contains(port) && (self.transport ?? transport) == transport
    }
}

extension [PortRule] {
    /// The first rule that matches.
    package func first(matching transport: TransportProtocol, _ port: Port) -> PortRule? {
        first { $0.matches(transport, port) }
    }

    /// Multicast discovery and address leases (UDP 67, 68, 137, 138, 546, 547, 1900, 5353, 5355): they are
    /// about the link, not about the machine, and are never mirrored.
    public static let linkLocal: [PortRule] =
        [67...68, 137...138, 546...547, 1_900...1_900, 5_353...5_353, 5_355...5_355].map {
            PortRule(transport: .udp, ports: $0)
        }
}
