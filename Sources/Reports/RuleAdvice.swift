internal import TwinportModel

/// What `explain` says of the rules that the settings have, or could have, for a listener.
enum RuleAdvice {
    /// Which rule decides about it, where the reason is not that rule; nil: none does.
    static func deciding(_ row: PortSnapshot, _ rule: MirrorRule? = nil) -> String? {
        guard let place = row.rule, row.state != .ignored else { return nil }
        let words = rule.map { Self.words($0, row.direction) } ?? []
        return "\(capitalised(place.text)) of \(row.direction.rulesKey) decides about it"
            + (words.isEmpty ? "." : ": \(words.joined(separator: "; ")).")
    }

    /// What a rule says, and what that does.
    private static func words(_ rule: MirrorRule, _ direction: Direction) -> [String] {
        var words: [String] = []
        if rule.isIgnored == false { words.append("ignore: false (no list leaves it out)") }
        if let bind = rule.bind { words.append("bind: \(bind.text)") }
        if let target = rule.target {
            words.append("\(direction == .guestToHost ? "host" : "guest"): \(target.text)")
        }
        if rule.takesNextPort {
            words.append(
                "onConflict: next (where its port is taken, the mirror takes the next free one)")
        }
        if rule.sendsProxyHeader {
            words.append(
                "proxyProtocol: 2 (each connection begins with a header that names the client, which the server must "
                    + "expect)")
        }
        return words
    }

    /// Why a mirror is not where its listener is; nil: it is, or the reason says it.
    static func elsewhere(_ row: PortSnapshot, _ outlook: Outlook) -> String? {
        guard row.direction == .guestToHost, let place = row.mirrors.first else { return nil }
        let rule = outlook.rule(for: row)
        if place.port != row.listener.port {
            let wanted = rule?.target?.port(for: row.listener.port, of: rule?.match.ports)
            if place.port != wanted ?? row.listener.port, row.rule?.takesNextPort == true {
                return
                    "It is not at port \(wanted ?? row.listener.port) because that one was taken: onConflict is next."
            }
            return rule?.target.map { "It is at that port because the rule says host: \($0.text)." }
        }
        guard row.listener.address.isWildcard, row.mirrors.allSatisfy({ $0.address.isLoopback })
        else { return nil }
        if let address = outlook.address, rule?.bind == nil {
            return
                "It is at \(address) because that is the guest's address; a rule with bind or host would put it elsewhere."
        }
        if case .word(let bind)? = rule?.bind { return onLoopback("the rule's bind", bind) }
        return outlook.bind.flatMap { onLoopback("guestToHost.bind", $0) }
    }

    private static func onLoopback(_ key: String, _ bind: WildcardBind) -> String? {
        let start = "It is on loopback, so other machines do not reach it, because \(key) is"
        switch bind {
        case .loopback: return "\(start) loopback."
        case .auto: return "\(start) auto and the listener is in no container; same would let them."
        case .same: return nil
        }
    }

    /// What would mend a conflict. A new first line would take from the rule that decides what else it says.
    static func remedy(for row: PortSnapshot) -> String? {
        guard row.state == .conflict, row.forward == nil, let transport = row.kind.transport
        else { return nil }
        let match = "match: \(transport.name)/\(row.listener.port)"
        let guest = row.guest.isEmpty ? "" : " of guest \(row.guest)"
        let first =
            "A line that mends it, as the first of \(row.direction.rulesKey)\(guest) in the settings:"
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
            .forwardHolds(_, let endpoint), .twinportHolds(_, let endpoint),
            .guestHolds(_, let endpoint), .coveredBy(let endpoint),
            .keptAfter(_, _, let endpoint), .keptFor(_, _, let endpoint):
            endpoint
        default: nil
        }
    }
}
