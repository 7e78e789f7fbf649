import Settings
import TestSupport
import Testing
import TwinportModel

private func text(_ rules: String, in section: String) -> String {
    "\(section):\n  rules:\n\(rules)"
}

private func read(_ rules: String, in section: String = "guestToHost") throws -> Settings {
    try SettingsFile.decode(text(rules, in: section), file: "s.yaml")
}

private func problem(_ rules: String, in section: String = "guestToHost") -> String {
    fileProblem(text(rules, in: section))
}

@Suite struct RuleDecoderTests {
    @Test func `every key of a rule is read`() throws {
        let settings = try read(
            """
                - { match: tcp/80, host: 127.0.0.1:8080 }
                - match: { port: tcp/5000-5010, address: 0.0.0.0, container: "web-*" }
                  bind: loopback
                - { match: { process: sshd, uid: 0 }, ignore: true }
                - { match: "*/53", host: ":5353", bind: 10.0.0.1, onConflict: next, ignore: false }
                - match: { container: "*" }
                  host: :9000
                  proxyProtocol: 2
            """)
        let rules = settings.guestToHost.rules
        #expect(rules.map(\.place.number) == [1, 2, 3, 4, 5])
        #expect(rules.map(\.place.line) == [3, 4, 6, 7, 8])
        #expect(rules[0].match == RuleMatch(ports: PortRule("tcp/80")))
        #expect(rules[0].target == RuleTarget(.loopbackV4, 8_080...8_080))
        #expect(
            rules[1].match
                == RuleMatch(
                    ports: PortRule("tcp/5000-5010"), address: .anyV4, container: "web-*"))
        #expect(rules[1].bind == .word(.loopback) && rules[1].isIgnored == nil)
        #expect(rules[2].match == RuleMatch(process: "sshd", uid: 0) && rules[2].isIgnored == true)
        #expect(rules[3].target == RuleTarget(nil, 5_353...5_353) && rules[3].takesNextPort)
        #expect(rules[3].bind == .address(IPAddress("10.0.0.1")!) && rules[3].isIgnored == false)
        #expect(rules[4].target == RuleTarget("9000"))
        #expect(rules.map(\.sendsProxyHeader) == [false, false, false, false, true])
    }

    @Test func `rules of the other direction say whether`() throws {
        let rule = "    - {match: {process: postgres}, ignore: true}"
        let settings = try read(rule, in: "hostToGuest")
        #expect(settings.hostToGuest.rules.map(\.isIgnored) == [true])
    }

    @Test func `rules of the other direction say where in the guest`() throws {
        let settings = try read(
            "    - { match: tcp/5432, guest: 127.0.0.1:15432 }\n"
                + "    - { match: tcp/5000-5001, guest: 6000-6001, onConflict: next }\n",
            in: "hostToGuest")
        let rules = settings.hostToGuest.rules
        #expect(rules[0].target == RuleTarget(.loopbackV4, 15_432...15_432))
        #expect(rules[1].target == RuleTarget(nil, 6_000...6_001) && rules[1].takesNextPort)
        let text = SettingsText.text(settings)
        #expect(text.contains("guest: 127.0.0.1:15432"))
        #expect(
            try SettingsFile.decode(text, file: "s").hostToGuest.rules.map(\.target)
                == rules.map(\.target))
        #expect(
            problem("    - { match: tcp/80, guest: 10.0.0.1:80 }", in: "hostToGuest").contains(
                "hostToGuest.rules[0].guest: 10.0.0.1 is no loopback address"))
        #expect(
            problem("    - { match: tcp/80 }", in: "hostToGuest").contains(
                "a rule needs an action: ignore, guest or onConflict"))
    }

    @Test(arguments: [
        (
            "    - tcp/80",
            "3:7: guestToHost.rules[0]: expected a mapping with match, ignore, bind, host, onConflict, proxyProtocol, found \"tcp/80\""
        ),
        (
            "    - { ignore: true }",
            "3:7: guestToHost.rules[0]: a rule needs match: ports as tcp/80, udp/5000-5010 or */53, or a mapping with port, address, container, process or uid"
        ),
        (
            "    - { match: tcp/80 }",
            "3:7: guestToHost.rules[0]: a rule needs an action: ignore, bind, host, onConflict or proxyProtocol"
        ),
        (
            "    - { match: tcp/x, ignore: true }",
            "3:16: guestToHost.rules[0].match: expected ports as tcp/80, udp/5000-5010 or */53, found \"tcp/x\""
        ),
        (
            "    - { match: {}, ignore: true }",
            "3:16: guestToHost.rules[0].match: expected ports as tcp/80, udp/5000-5010 or */53, or a mapping with port, address, container, process or uid"
        ),
        (
            "    - { match: { prot: tcp/80 }, ignore: true }",
            "3:18: guestToHost.rules[0].match: unknown key \"prot\"; did you mean port?; known here: port, address, container, process, uid"
        ),
        (
            "    - { match: { uid: root }, ignore: true }",
            "3:23: guestToHost.rules[0].match.uid: expected a user's number, as 1000, found \"root\""
        ),
        (
            "    - { match: { address: lo }, ignore: true }",
            "3:27: guestToHost.rules[0].match.address: expected an address as 0.0.0.0 or \"::1\", found \"lo\""
        ),
        (
            "    - { match: tcp/80, bind: 0.0.0.0 }",
            "3:30: guestToHost.rules[0].bind: expected same, loopback, auto or an address of this machine, as 192.168.1.5, found \"0.0.0.0\""
        ),
        (
            "    - { match: tcp/80, host: 224.0.0.1:80 }",
            "3:30: guestToHost.rules[0].host: expected a place on this machine, as 8080, 127.0.0.1:8080 or \"[::1]:8080\", found \"224.0.0.1:80\""
        ),
        (
            "    - { match: tcp/80-89, host: 8080-8081 }",
            "3:33: guestToHost.rules[0].host: 2 ports for the 10 that match names; name as many, or one that the first of several listeners gets"
        ),
        (
            "    - { match: { process: nginx }, host: 1-65535 }",
            "3:42: guestToHost.rules[0].host: a range of ports needs a range in match, as port: tcp/5000-5010; or name one port"
        ),
        (
            "    - { match: tcp/80, host: 127.0.0.1:80, bind: same }",
            "3:50: guestToHost.rules[0].bind: host names an address as well; keep one, or let host be a port alone, as 8080"
        ),
        (
            "    - { match: tcp/80, ignore: true, onConflict: next }",
            "3:7: guestToHost.rules[0]: ignore: true leaves no mirror for onConflict to say anything about"
        ),
        (
            "    - { match: tcp/80, onConflict: nxt }",
            "3:36: guestToHost.rules[0].onConflict: expected next or fail, found \"nxt\""
        ),
        (
            "    - { match: tcp/80, proxyProtocol: 1 }",
            "3:39: guestToHost.rules[0].proxyProtocol: expected 2, the version of the PROXY protocol, found \"1\""
        ),
        (
            "    - { match: udp/53, proxyProtocol: 2 }",
            "3:39: guestToHost.rules[0].proxyProtocol: the PROXY protocol is for TCP; match names UDP only"
        ),
    ])
    func `errors name place, key, what was expected and how to mend it`(
        rules: String, expected: String
    ) {
        #expect(problem(rules) == "s.yaml:\(expected)")
    }

    @Test func `the other direction has no places, and no more than 1,000 rules are read`() {
        #expect(
            problem("    - { match: tcp/80, host: 80 }", in: "hostToGuest")
                == "s.yaml:3:24: hostToGuest.rules[0]: unknown key \"host\"; known here: match, ignore, guest, onConflict"
        )
        let rule = "    - { match: tcp/80, ignore: true }\n"
        #expect(problem(String(repeating: rule, count: 1_000)) == "right")
        #expect(problem(String(repeating: rule, count: 1_001)).contains("1001 rules are too many"))
    }

    @Test func `any rules survive a round trip through their text`() throws {
        var generator = SeededGenerator()
        let names = [
            "web-*", "null", "~", "true", "a: b", "x\"y\\", "-", "#", "é", "[a]", "{", ",", "7",
        ]
        for _ in 0..<300 {
            var settings = Settings()
            for number in 1...3 {
                var rule = MirrorRule(place: RulePlace(number: number), match: RuleMatch())
                let port = Port.random(in: 1...60_000, using: &generator)
                rule.match.ports = PortRule(transport: nil, ports: port...port + 9)
                if Bool.random(using: &generator) { rule.match.address = .loopbackV6 }
                if Bool.random(using: &generator) {
                    rule.match.container = names.randomElement(using: &generator)
                    rule.match.process = names.randomElement(using: &generator)
                }
                if Bool.random(using: &generator) { rule.match.uid = 1_000 }
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: rule.isIgnored = Bool.random(using: &generator)
                case 1: rule.bind = .word(WildcardBind.allCases.randomElement(using: &generator)!)
                case 2: rule.target = RuleTarget(.loopbackV6, 5_000...5_009)
                case 3: rule.target = RuleTarget(nil, port...port)
                default:
                    rule.takesNextPort = true
                    rule.bind = .address(IPAddress("fd00::1")!)
                }
                settings.guestToHost.rules.append(rule)
            }
            var again = try SettingsFile.decode(SettingsText.text(settings), file: "s.yaml")
            for index in again.guestToHost.rules.indices {
                again.guestToHost.rules[index].place.line = 0
            }
            #expect(
                again.guestToHost.rules == settings.guestToHost.rules, "seed \(generator.seed)")
        }
    }
}
