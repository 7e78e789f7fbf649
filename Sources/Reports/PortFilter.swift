package import TwinportModel

/// Which listeners `ports --filter` shows. Pure.
///
/// Conditions of one key are alternatives; all keys that are named must hold.
package struct PortFilter: Equatable, Sendable {
    /// What is wrong with a filter.
    package struct Problem: Error, Equatable, Sendable, CustomStringConvertible {
        /// In one line.
        package let description: String
    }

    enum Condition: Equatable, Sendable {
        case state(MirrorState)
        case ports(ClosedRange<Port>)
        case kind(SocketKind)
        case direction(Direction)
        case container(Glob)
        case process(Glob)
        case guest(Glob)
    }

    private static let keys = [
        "state", "port", "protocol", "direction", "container", "process", "guest",
    ]
    private var conditions: [String: [Condition]] = [:]

    /// Reads filters, as `state=conflict,port=8000-8100`.
    package init(_ texts: [String]) throws(Problem) {
        for text in texts {
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                let pair = part.split(
                    separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard pair.count == 2, !pair[1].isEmpty else {
                    throw Problem(
                        description: "\"\(part)\" in \"\(text)\": expected KEY=VALUE, as "
                            + "state=conflict,port=8000-8100,protocol=tcp")
                }
                let key = String(pair[0])
                conditions[key, default: []].append(try Self.condition(key, String(pair[1])))
            }
        }
    }

    private static func condition(
        _ key: String, _ value: String
    ) throws(Problem) -> Condition {
        let found: Condition?
        let expected: String
        switch key {
        case "state":
            found = MirrorState(name: value).map { .state($0) }
            expected = MirrorState.allCases.map(\.name).joined(separator: ", ")
        case "port":
            found = ports(value).map { .ports($0) }
            expected = "a port, as 8000, or a range, as 8000-8100"
        case "protocol":
            found = SocketKind(name: value).map { .kind($0) }
            expected = SocketKind.allCases.map(\.name).joined(separator: ", ")
        case "direction":
            found = Direction(rawValue: value).map { .direction($0) }
            expected = Direction.allCases.map(\.rawValue).joined(separator: ", ")
        case "container": return .container(Glob(value))
        case "process": return .process(Glob(value))
        case "guest": return .guest(Glob(value))
        default:
            throw Problem(
                description: "there is no filter \"\(key)\": expected one of "
                    + keys.joined(separator: ", "))
        }
        guard let found else {
            throw Problem(description: "\(key)=\(value): expected \(expected)")
        }
        return found
    }

    private static func ports(_ text: String) -> ClosedRange<Port>? {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Port($0) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2,
            first <= last
        else { return nil }
        return first...last
    }

    /// Whether a listener is shown.
    package func matches(_ port: PortSnapshot) -> Bool {
        conditions.values.allSatisfy { $0.contains { Self.holds($0, port) } }
    }

    private static func holds(_ condition: Condition, _ port: PortSnapshot) -> Bool {
        switch condition {
        case .state(let state): return port.state == state
        case .ports(let range):
            let socket = port.forward.flatMap { Endpoint($0.socket) }?.port
            return range.contains(port.listener.port) || socket.map(range.contains) == true
        case .kind(let kind): return port.kind == kind
        case .direction(let direction): return port.direction == direction
        case .guest(let glob): return glob.matches(port.guest)
        case .container(let glob):
            guard let container = port.container else { return false }
            return glob.matches(container.label) || glob.matches(container.id)
        case .process(let glob):
            if port.owner.isEmpty { return false }
            let command = port.owner.drop { $0 != "/" }.dropFirst()
            return glob.matches(port.owner) || glob.matches(command)
        }
    }
}
