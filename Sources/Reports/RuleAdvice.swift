internal import TwinportModel

/// What `explain` says of the rules that the settings have, or could have, for a listener.
enum RuleAdvice {
    /// Which rule decides about it, where the reason is not that rule; nil: none does.
    static func deciding(_ row: PortSnapshot) -> String? {
        guard let rule = row.rule, row.state != .ignored else { return nil }
        return "\(capitalised(rule.text)) of \(row.direction.rulesKey) decides about it."
    }

    /// What would mend a conflict. A new first line would take from the rule that decides what else it says.
    static func remedy(for row: PortSnapshot) -> String? {
        guard row.state == .conflict, row.forward == nil, let transport = row.kind.transport
        else { return nil }
        let match = "match: \(transport.name)/\(row.listener.port)"
        let first =
            "A line that mends it, as the first of \(row.direction.rulesKey) in the settings:"
        switch (row.reason, row.rule) {
        case (.loop, _): return "\(first) - { \(match), ignore: true }"
        case (.keptAfter, _), (.keptFor, _): return nil
        case (_, let rule?) where rule.takesNextPort: return nil
        case (_, let rule?): return "To mend it, add onConflict: next to \(rule.text)."
        default: return "\(first) - { \(match), onConflict: next }"
        }
    }

    private static func capitalised(_ text: String) -> String {
        text.prefix(1).uppercased() + text.dropFirst()
    }
}

extension Reason {
    /// The address of a mirror that it is about.
    var place: Endpoint? {
        switch self {
        case .inUse(let endpoint), .heldBy(_, let endpoint), .mirrorHolds(_, let endpoint),
            .twinportHolds(_, let endpoint),
            .coveredBy(let endpoint), .keptAfter(_, _, let endpoint),
            .keptFor(_, _, let endpoint):
            endpoint
        default: nil
        }
    }
}
