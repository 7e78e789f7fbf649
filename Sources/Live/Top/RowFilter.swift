internal import Reports
internal import TwinportModel

/// What `/` was given: conditions as `ports --filter` has them, or words that a row must have.
struct RowFilter {
    private let words: [String]
    private let conditions: PortFilter?
    /// What is wrong with conditions; all rows are shown then.
    let problem: String?

    init(_ text: String) {
        guard text.contains("=") else {
            words = text.lowercased().split(separator: " ").map(String.init)
            (conditions, problem) = (nil, nil)
            return
        }
        words = []
        do {
            (conditions, problem) = (try PortFilter([text]), nil)
        } catch {
            (conditions, problem) = (nil, error.description)
        }
    }

    func matches(_ port: PortSnapshot) -> Bool {
        if let conditions { return conditions.matches(port) }
        return matches([
            port.kind.name, port.listenerText, port.state.name, port.owner, port.guest,
            port.container?.label ?? "", PortsTable.why(port), port.direction.rawValue,
            port.mirrorText,
        ])
    }

    /// Of conditions flows have what their listeners have.
    func matches(_ flow: FlowSnapshot, _ listeners: Set<Endpoint>) -> Bool {
        if conditions != nil { return listeners.contains(flow.listener) }
        return matches([
            flow.protocolName, flow.listenerText, flow.mirrorText, flow.guest,
            flow.clientText, flow.state.rawValue, flow.direction.rawValue,
        ])
    }

    private func matches(_ texts: [String]) -> Bool {
        guard !words.isEmpty else { return true }
        let text = texts.joined(separator: "\n").lowercased()
        return words.allSatisfy { text.contains($0) }
    }
}
