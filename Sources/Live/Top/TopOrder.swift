internal import Reports
internal import TwinportModel

/// In which order `top` shows listeners.
package enum TopOrder: String, CaseIterable, Sendable {
    /// The fastest first.
    case rate
    /// By the listener's port.
    case port
    /// By the mirror's state.
    case state
    /// The most bytes first.
    case traffic
    /// By the container's name; those in none last.
    case container

    var next: TopOrder {
        let all = Self.allCases
        let index = all.firstIndex(of: self) ?? 0
        return all[(index + 1) % all.count]
    }

    /// What is wrong with `--sort TEXT`.
    package static func problem(with text: String) -> String {
        let all = allCases.map(\.rawValue).joined(separator: ", ")
        return "--sort \(text): expected one of \(all)"
    }

    func sorted(_ ports: [PortSnapshot], _ rates: RateMeter<ListenerKey>) -> [PortSnapshot] {
        let order = PortOrder(rawValue: rawValue)
        guard let order else {
            // What is equally fast stays by port.
            let ranked = PortOrder.port.sorted(ports).map { ($0, rates[ListenerKey($0)].sum) }
            return ranked.enumerated().sorted { one, two in
                (two.element.1, one.offset) < (one.element.1, two.offset)
            }.map(\.element.0)
        }
        return order.sorted(ports)
    }

    func sorted(_ flows: [FlowSnapshot], _ rates: RateMeter<FlowKey>) -> [FlowSnapshot] {
        func key(_ flow: FlowSnapshot) -> (Double, UInt64) {
            switch self {
            case .rate: (-rates[FlowKey(flow)].sum, flow.id)
            case .port: (Double(flow.listener.port), flow.id)
            case .traffic: (-Double(flow.bytesIn &+ flow.bytesOut), flow.id)
            case .state: (Double(flow.idleSeconds), flow.id)
            case .container: (Double(flow.ageSeconds), flow.id)
            }
        }
        return flows.sorted { key($0) < key($1) }
    }

    /// What it is called for flows, which have neither container nor reason.
    var nameForFlows: String {
        switch self {
        case .state: "idle"
        case .container: "age"
        default: rawValue
        }
    }
}
