internal import TwinportModel

/// Rules as the settings file has them.
enum RuleText {
    /// The lines of a list, each with its line break before it; nothing for an empty list.
    static func lines(_ rules: [MirrorRule], placedBy key: String) -> String {
        rules.isEmpty ? "" : "\n  rules:" + rules.map { "\n    - \(text($0, key))" }.joined()
    }

    private static func text(_ rule: MirrorRule, _ key: String) -> String {
        var members = [("match", match(rule.match))]
        if let isIgnored = rule.isIgnored { members.append(("ignore", "\(isIgnored)")) }
        if let bind = rule.bind { members.append(("bind", scalar(bind.text))) }
        if let target = rule.target { members.append((key, scalar(target.text))) }
        if rule.takesNextPort { members.append(("onConflict", "next")) }
        if rule.sendsProxyHeader { members.append(("proxyProtocol", "2")) }
        return mapping(members)
    }

    private static func match(_ match: RuleMatch) -> String {
        var members: [(String, String)] = []
        if let ports = match.ports { members.append(("port", scalar(ports.description))) }
        if let address = match.address {
            members.append(("address", scalar(address.description)))
        }
        if let container = match.container { members.append(("container", scalar(container))) }
        if let process = match.process { members.append(("process", scalar(process))) }
        if let uid = match.uid { members.append(("uid", "\(uid)")) }
        return members.count == 1 && match.ports != nil ? members[0].1 : mapping(members)
    }

    static func mapping(_ members: [(key: String, value: String)]) -> String {
        "{ " + members.map { "\($0.key): \($0.value)" }.joined(separator: ", ") + " }"
    }

    /// A text within a flow mapping: bare only where nothing in it could mean anything else there.
    static func scalar(_ text: String) -> String {
        let isPlain =
            text != "null"
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"):
                    true
                default: "/._-:".utf8.contains(byte)
                }
            }
        let isSafe = isPlain && !"-:".utf8.contains(text.utf8.first ?? 45) && !text.hasSuffix(":")
        return isSafe ? text : ScalarText.quoted(text)
    }
}
