public import Addresses

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

    private static func ports(_ text: Substring) -> ClosedRange<Port>? {
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
}

/// Durations as the settings write them: `300s`, `5m`, `500ms`, `1h`.
public enum DurationText {
    private static let units: [(suffix: String, milliseconds: UInt64)] = [
        ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000),
    ]

    /// Reads a duration as milliseconds, up to 24 hours; nil for anything else.
    public static func milliseconds(_ text: String) -> UInt64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits), number <= 86_400_000,
            let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) })
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow || product > 86_400_000 ? nil : product
    }

    /// Writes milliseconds in the largest unit that fits.
    public static func text(_ milliseconds: UInt64) -> String {
        for unit in units.reversed()
        where milliseconds % unit.milliseconds == 0 && milliseconds >= unit.milliseconds {
            return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
        }
        return "\(milliseconds)ms"
    }
}
