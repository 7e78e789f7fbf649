package import TwinportModel

/// `settings check --explain`: what each rule is about now. Pure.
package enum RuleReport {
    /// The lines: for each rule what it says, and the listeners that it decides about.
    ///
    /// - Parameters:
    ///   - rules: The rules of a direction, as the file has them.
    ///   - ports: What the running helper knows.
    ///   - guest: Whose rules these are, of several guests.
    package static func lines(
        _ rules: [MirrorRule], _ direction: Direction, _ ports: [PortSnapshot],
        guest: String = ""
    ) -> [String] {
        let rows = ports.filter {
            $0.direction == direction && $0.kind.transport != nil && $0.guest == guest
                && $0.forward == nil
        }
        .sorted { ($0.kind.name, $0.listener.port) < ($1.kind.name, $1.listener.port) }
        let findings = rows.map { rules.finding(for: ListenerFacts($0)) }
        return rules.flatMap { rule in
            let decided = zip(rows, findings).compactMap { row, finding in
                switch finding {
                case .rule(rule): "  \(listener(row))"
                case .needsOwner(rule): "  \(listener(row)), if its process were known"
                default: nil
                }
            }
            let whose = guest.isEmpty ? "" : "\(guest): "
            let title =
                "\(whose)\(direction.rulesKey), \(rule.place.text): \(action(rule, direction))"
            return [title] + (decided.isEmpty ? ["  decides about no listener now"] : decided)
        }
    }

    private static func listener(_ row: PortSnapshot) -> String {
        let owner = row.owner.isEmpty ? "" : " (\(row.owner))"
        let mirrors = row.mirrors.map(\.description).joined(separator: ",")
        return "\(row.kind.name) \(row.listener)\(owner): \(row.state.name)"
            + (mirrors.isEmpty ? "" : " at \(mirrors)")
    }

    private static func action(_ rule: MirrorRule, _ direction: Direction) -> String {
        var words: [String] = []
        if let isIgnored = rule.isIgnored { words.append("ignore: \(isIgnored)") }
        if let bind = rule.bind { words.append("bind: \(bind.text)") }
        let key = direction == .guestToHost ? "host" : "guest"
        if let target = rule.target { words.append("\(key): \(target.text)") }
        if rule.takesNextPort { words.append("onConflict: next") }
        if rule.sendsProxyHeader { words.append("proxyProtocol: 2") }
        return words.joined(separator: ", ")
    }
}

extension ListenerFacts {
    /// A listener as a report has it.
    fileprivate init(_ row: PortSnapshot) {
        self.init(
            row.kind.transport ?? .tcp, row.listener, uid: row.uid ?? .max, owner: row.owner,
            container: row.container)
        if process == nil, !row.published.isEmpty { process = row.owner }
    }
}
