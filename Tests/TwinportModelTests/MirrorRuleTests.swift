import Testing
import TwinportModel

@Suite struct MirrorRuleTests {
    private static let containers: [Container?] = [
        nil, Container(id: "c0ffee", name: "web-1"), Container(id: "beef", name: ""),
    ]

    private func rule(_ number: Int, _ match: RuleMatch) -> MirrorRule {
        MirrorRule(place: RulePlace(number: number), match: match)
    }

    /// Compared with a slow, obvious model, over every combination of conditions and facts.
    @Test func `a rule matches when all of its conditions hold`() {
        let ports: [PortRule?] = [nil, PortRule("tcp/80"), PortRule("*/79-81")]
        let addresses: [IPAddress?] = [nil, .anyV4, .loopbackV6]
        let names: [String?] = [nil, "web-*", "c0ffee", "*"]
        let processes: [String?] = [nil, "nginx", "n*", "ssh?"]
        let users: [UInt32?] = [nil, 0, 1_000]
        for transport in TransportProtocol.allCases {
            for endpoint in [Endpoint(.anyV4, 80), Endpoint(.loopbackV6, 81), Endpoint(.anyV6, 82)]
            {
                for (owner, container) in [
                    ("", nil), ("7/nginx", Self.containers[0]), ("7/sshd", Self.containers[1]),
                    ("7/a/b", Self.containers[2]),
                ] {
                    let facts = ListenerFacts(
                        transport, endpoint, uid: 0, owner: owner, container: container)
                    for port in ports {
                        for address in addresses {
                            for name in names {
                                for process in processes {
                                    for uid in users {
                                        let match = RuleMatch(
                                            ports: port, address: address, container: name,
                                            process: process, uid: uid)
                                        #expect(
                                            match.answer(for: facts) == model(match, facts, owner))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func model(
        _ match: RuleMatch, _ facts: ListenerFacts, _ owner: String
    ) -> RuleMatch.Answer {
        var isSure = true
        if let ports = match.ports {
            isSure =
                ports.ports.contains(facts.endpoint.port)
                && (ports.transport == nil || ports.transport == facts.transport)
        }
        if let address = match.address { isSure = isSure && address == facts.endpoint.address }
        if let uid = match.uid { isSure = isSure && uid == 0 }
        guard isSure else { return .no }
        if owner.isEmpty { return match.container ?? match.process == nil ? .yes : .unknown }
        let command = owner.dropFirst(2)
        let isProcess =
            switch match.process {
            case nil: true
            case "nginx": command == "nginx"
            case "n*": command.hasPrefix("n")
            default: command == "sshd"
            }
        let isContainer =
            switch match.container {
            case nil: true
            case "web-*": facts.container?.name == "web-1"
            case "c0ffee": facts.container?.id == "c0ffee"
            default: facts.container != nil
            }
        if isProcess, !isContainer, facts.container?.id == "beef" { return .unknown }
        return isProcess && isContainer ? .yes : .no
    }

    @Test func `a container whose name is not known may be any`() {
        func answer(_ pattern: String, _ container: Container) -> RuleMatch.Answer {
            RuleMatch(container: pattern).answer(
                for: ListenerFacts(
                    .tcp, Endpoint(.anyV4, 80), uid: 0, owner: "7/x", container: container))
        }
        #expect(answer("web-*", .unknown) == .unknown)
        #expect(answer("*", .unknown) == .yes)
        #expect(answer("?", .unknown) == .unknown)
        #expect(answer("web-*", Container(id: "c0ffee", name: "")) == .unknown)
        #expect(answer("web-*", Container(id: "c0ffee", name: "?")) == .unknown)
        #expect(answer("c0ff*", Container(id: "c0ffee", name: "")) == .yes)
        #expect(answer("web-*", Container(id: "c0ffee", name: "db")) == .no)
    }

    @Test func `the first rule that matches decides, and a list ends at one that cannot be told`() {
        let ssh = rule(1, RuleMatch(process: "sshd"))
        let all = rule(2, RuleMatch())
        func finding(_ rules: [MirrorRule], _ owner: String) -> RuleFinding {
            rules.finding(
                for: ListenerFacts(
                    .tcp, Endpoint(.anyV4, 22), uid: 0, owner: owner, container: nil))
        }
        #expect(finding([], "") == .none)
        #expect(finding([ssh, all], "1/sshd") == .rule(ssh))
        #expect(finding([ssh, all], "1/nginx") == .rule(all))
        #expect(finding([ssh], "1/nginx") == .none)
        #expect(finding([ssh, all], "") == .needsOwner(ssh))
        #expect(finding([all, ssh], "") == .rule(all))
    }

    @Test(arguments: [
        ("", "", true), ("", "a", false), ("*", "", true), ("**", "abc", true), ("a*", "a", true),
        ("a*c", "abc", true), ("a*c", "abcb", false), ("*ab*ab", "abaab", true), ("?", "", false),
        ("?", "é", true), ("sshd*", "sshd\u{301}", true), ("web-?", "web-12", false),
        ("*b?d*", "abcde", true), ("[a]", "a", false),
    ])
    func `patterns`(pattern: String, text: String, isMatch: Bool) {
        #expect(Glob(pattern).matches(text) == isMatch)
    }

    @Test func `a hostile name takes no long time to compare`() {
        let name = String(repeating: "a", count: 10_000)
        #expect(!Glob("*a*a*a*a*a*a*a*a*b").matches(name))
    }

    @Test(arguments: [
        ("8080", "8080"), (":8080", "8080"), ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:8080", "[::1]:8080"), ("6000-6010", "6000-6010"),
        ("10.0.0.1:6000-6010", "10.0.0.1:6000-6010"), ("[::ffff:1.2.3.4]:5", "1.2.3.4:5"),
        ("0", nil), ("", nil), (":", nil), ("*", nil), (":*", nil), ("70000", nil),
        ("127.0.0.1", nil), ("::1:80", nil), ("host:80", nil), ("127.0.0.1:", nil), ("9-8", nil),
        ("1.2.3.4:5:6", nil),
    ])
    func `places of mirrors`(text: String, expected: String?) {
        #expect(RuleTarget(text)?.text == expected)
    }

    @Test func `a range goes to a range, port by port`() {
        let match = PortRule("tcp/5000-5010")
        let target = RuleTarget("6000-6010")!
        for port: Port in 5_000...5_010 {
            #expect(target.port(for: port, of: match) == port + 1_000)
            #expect(RuleTarget("7000")!.port(for: port, of: match) == 7_000)
        }
    }

    @Test func `reasons of rules are read as they are written`() {
        let v6 = Endpoint(.loopbackV6, 80)
        for reason in [
            Reason.ruleNumber(3, .guestToHost), .needsOwner(1, .hostToGuest),
            .mirrorHolds(listener: v6, Endpoint(.anyV4, 8_080)),
            .allBut(v6, owner: "the mirror of 0.0.0.0:80"),
        ] {
            #expect(Reason(text: reason.text) == reason)
        }
        let other = "rule x of guestToHost.rules"
        #expect(Reason(text: other) == .other(other))
    }
}
