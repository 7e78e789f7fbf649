package import TwinportModel

/// In which order `ports --sort` shows listeners.
package enum PortOrder: String, CaseIterable, Sendable {
    /// By the listener's port.
    case port
    /// By the mirror's state.
    case state
    /// The most bytes first.
    case traffic
    /// By the container's name; those in none last.
    case container

    /// Sorts; what is equal stays by direction, protocol and port.
    package func sorted(_ ports: [PortSnapshot]) -> [PortSnapshot] {
        let usual = Self.usual(ports)
        // `sorted` is stable on equal keys only with the place in the key.
        return usual.enumerated().sorted { one, two in
            if isBefore(one.element, two.element) { return true }
            if isBefore(two.element, one.element) { return false }
            return one.offset < two.offset
        }.map(\.element)
    }

    private func isBefore(_ one: PortSnapshot, _ two: PortSnapshot) -> Bool {
        switch self {
        case .port: return one.listener.port < two.listener.port
        case .state: return one.state.name < two.state.name
        case .traffic:
            return one.bytesIn &+ one.bytesOut > two.bytesIn &+ two.bytesOut
        case .container:
            guard let first = one.container?.label else { return false }
            guard let second = two.container?.label else { return true }
            return first < second
        }
    }

    private static func key(
        _ port: PortSnapshot
    ) -> (String, String, String, Port, String) {
        (
            port.guest, port.direction.rawValue, port.kind.name, port.listener.port,
            port.listenerText
        )
    }

    /// By guest, direction, protocol and port.
    static func usual(_ ports: [PortSnapshot]) -> [PortSnapshot] {
        ports.sorted {
            key($0) < key($1)
        }
    }
}
