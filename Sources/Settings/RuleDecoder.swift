internal import TwinportModel

/// Reads `guestToHost.rules` and `hostToGuest.rules`.
enum RuleDecoder {
    /// The most rules of a list: each listener may be compared with all of them.
    static let most = 1_000
    private static let ports = "ports as tcp/80, udp/5000-5010 or */53"

    static func rules(
        _ node: NodeReader, _ direction: Direction
    ) throws(SettingsError) -> [MirrorRule] {
        let items = try node.list()
        guard items.count <= most else {
            throw node.fail("\(items.count) rules are too many: join some, \(most) are permitted")
        }
        var rules: [MirrorRule] = []
        for item in items {
            let number = rules.count + 1
            rules.append(
                direction == .guestToHost
                    ? try mirrorRule(item, number) : try offerRule(item, number))
        }
        return rules
    }

    // MARK: What a rule says

    /// A rule with what it matches only.
    private static func rule(
        _ node: NodeReader, _ members: [String: NodeReader], _ number: Int
    ) throws(SettingsError) -> MirrorRule {
        guard let match = members["match"] else {
            throw node.fail(
                "a rule needs match: \(ports), or a mapping with port, address, container, process or uid"
            )
        }
        return MirrorRule(
            place: RulePlace(number: number, line: node.line), match: try self.match(match))
    }

    private static func offerRule(
        _ node: NodeReader, _ number: Int
    ) throws(SettingsError) -> MirrorRule {
        let members = try node.members(["match", "ignore", "guest", "onConflict"])
        var rule = try rule(node, members, number)
        guard members.count > 1 else {
            throw node.fail("a rule needs an action: ignore, guest or onConflict")
        }
        if let node = members["ignore"] { rule.isIgnored = try node.bool() }
        if let node = members["guest"] {
            rule.target = try target(node, for: rule.match, inGuest)
            if let address = rule.target?.address, !address.isLoopback {
                throw node.fail(
                    "\(address) is no loopback address, and mirrors in the guest stand on loopback; expected "
                        + inGuest)
            }
        }
        if let node = members["onConflict"] { rule.takesNextPort = try onConflict(node) }
        if rule.isIgnored == true, let other = members.keys.sorted().first(where: isPlacing) {
            throw node.fail("ignore: true leaves no mirror for \(other) to say anything about")
        }
        return rule
    }

    private static let inGuest =
        "a place in the guest, as 15432, 127.0.0.1:15432 or \"[::1]:15432\""

    private static func onConflict(_ node: NodeReader) throws(SettingsError) -> Bool {
        let words = ["next": true, "fail": false]
        return try node.word("next or fail") { words[$0] }
    }

    private static func mirrorRule(
        _ node: NodeReader, _ number: Int
    ) throws(SettingsError) -> MirrorRule {
        let members = try node.members([
            "match", "ignore", "bind", "host", "onConflict", "proxyProtocol",
        ])
        var rule = try rule(node, members, number)
        guard members.count > 1 else {
            throw node.fail(
                "a rule needs an action: ignore, bind, host, onConflict or proxyProtocol")
        }
        if let node = members["ignore"] { rule.isIgnored = try node.bool() }
        if let node = members["bind"] { rule.bind = try bind(node) }
        if let node = members["host"] { rule.target = try target(node, for: rule.match) }
        if let node = members["onConflict"] { rule.takesNextPort = try onConflict(node) }
        if let node = members["proxyProtocol"] { try proxyProtocol(node, &rule) }
        if rule.isIgnored == true, let other = members.keys.sorted().first(where: isPlacing) {
            throw node.fail("ignore: true leaves no mirror for \(other) to say anything about")
        }
        if let bind = members["bind"], rule.target?.address != nil {
            throw bind.fail(
                "host names an address as well; keep one, or let host be a port alone, as 8080")
        }
        return rule
    }

    private static func proxyProtocol(
        _ node: NodeReader, _ rule: inout MirrorRule
    ) throws(SettingsError) {
        rule.sendsProxyHeader = try node.word("2, the version of the PROXY protocol") {
            $0 == "2" ? true : nil
        }
        guard rule.match.ports?.matches(.tcp, rule.match.ports?.ports.lowerBound ?? 1) != false
        else { throw node.fail("the PROXY protocol is for TCP; match names UDP only") }
    }

    private static func isPlacing(_ key: String) -> Bool { key != "match" && key != "ignore" }

    private static func bind(_ node: NodeReader) throws(SettingsError) -> RuleBind {
        try node.word("same, loopback, auto or an address of this machine, as 192.168.1.5") {
            text in
            if let word = WildcardBind(rawValue: text) { return .word(word) }
            guard let address = IPAddress(text)?.unmapped, isOfOneMachine(address),
                !address.isWildcard
            else { return nil }
            return .address(address)
        }
    }

    private static func isOfOneMachine(_ address: IPAddress) -> Bool {
        !address.isMulticastOrBroadcast
    }

    private static func target(
        _ node: NodeReader, for match: RuleMatch,
        _ expected: String = "a place on this machine, as 8080, 127.0.0.1:8080 or \"[::1]:8080\""
    ) throws(SettingsError) -> RuleTarget {
        let target = try node.word(expected) { text in
            RuleTarget(text).flatMap { isOfOneMachine($0.address ?? .anyV4) ? $0 : nil }
        }
        guard target.ports.count == 1 || match.ports != nil else {
            throw node.fail(
                "a range of ports needs a range in match, as port: tcp/5000-5010; or name one port")
        }
        let matched = match.ports?.ports.count ?? 65_535
        guard target.ports.count == 1 || target.ports.count == matched else {
            throw node.fail(
                "\(target.ports.count) ports for the \(matched) that match names; name as many, "
                    + "or one that the first of several listeners gets")
        }
        return target
    }

    // MARK: What a rule matches

    private static func match(_ node: NodeReader) throws(SettingsError) -> RuleMatch {
        if node.isText { return RuleMatch(ports: try portRule(node)) }
        let members = try node.members(["port", "address", "container", "process", "uid"])
        guard !members.isEmpty else {
            throw node.fail(
                "expected \(ports), or a mapping with port, address, container, process or uid")
        }
        var match = RuleMatch()
        if let node = members["port"] { match.ports = try portRule(node) }
        if let node = members["address"] {
            match.address = try node.word("an address as 0.0.0.0 or \"::1\"") { IPAddress($0) }
                .unmapped
        }
        if let node = members["container"] {
            match.container = try pattern(node, "a container's name, as web-*")
        }
        if let node = members["process"] {
            match.process = try pattern(node, "the name of a process, as nginx or node*")
        }
        if let node = members["uid"] {
            match.uid = try node.word("a user's number, as 1000") { UInt32($0) }
        }
        return match
    }

    private static func portRule(_ node: NodeReader) throws(SettingsError) -> PortRule {
        try node.word(ports, PortRule.init)
    }

    private static func pattern(
        _ node: NodeReader, _ expected: String
    ) throws(SettingsError) -> String {
        try node.word(expected) { $0.isEmpty || $0.utf8.count > 256 ? nil : $0 }
    }
}
