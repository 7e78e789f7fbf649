import Settings
import Testing
import TwinportModel

@Suite struct SettingsWarningsTests {
    private func warnings(
        _ rule: String, _ addresses: [IPAddress] = [.loopbackV4, IPAddress("192.168.1.5")!]
    ) throws -> [String] {
        let text = "hostNetworking: {enabled: true}\nguestToHost:\n  rules:\n    - \(rule)\n"
        let settings = try SettingsFile.decode(text, file: "s.yaml")
        return SettingsWarnings.lines(settings, file: "s.yaml", addresses: addresses)
    }

    @Test(arguments: [
        (
            "{ match: tcp/80, host: 10.9.8.7:80 }",
            "[0].host: no interface of this machine has 10.9.8.7 now"
        ),
        (
            "{ match: tcp/80, bind: 10.9.8.7 }",
            "[0].bind: no interface of this machine has 10.9.8.7 now"
        ),
        ("{ match: tcp/80, host: \"[fe80::1]:80\" }", "[0].host: no interface"),
        (
            "{ match: { process: systemd-resolved }, ignore: true }",
            "[0].match.process: \"systemd-resolved\" matches no process: the kernel tells the first 15 bytes of a "
                + "name; write \"systemd-resolve\""
        ),
        (
            "{ match: { process: \"*a-very-long-word-*\" }, ignore: true }",
            "or a shorter pattern with *"
        ),
        (
            "{ match: { address: 224.0.0.1 }, ignore: true }",
            "[0].match.address: a listener on 224.0.0.1"
        ),
    ]) func `what can never do anything is told with its line`(rule: String, words: String) throws {
        let found = try warnings(rule)
        #expect(found.count == 1)
        #expect(found[0].hasPrefix("s.yaml:4: warning: guestToHost.rules[0]."), "\(found)")
        #expect(found[0].contains(words), "\(found)")
    }

    @Test(arguments: [
        "{ match: tcp/80, host: 192.168.1.5:80 }", "{ match: tcp/80, host: 0.0.0.0:80 }",
        "{ match: tcp/80, host: 127.5.5.5:80 }", "{ match: tcp/80, bind: 192.168.1.5 }",
        "{ match: { process: systemd-resolve }, ignore: true }", "{ match: tcp/80, host: 8080 }",
        "{ match: { process: \"systemd-res*olve\" }, ignore: true }",
    ]) func `nothing is said of what can`(rule: String) throws {
        #expect(try warnings(rule).isEmpty)
        #expect(try warnings("{ match: tcp/80, host: 10.9.8.7:80 }", []).isEmpty)
    }

    @Test(arguments: [
        ("tcp/80", "tcp/80"), ("tcp/1-100", "tcp/80"), ("\"*/80\"", "{ port: udp/80, uid: 7 }"),
        ("\"*/*\"", "{ process: nginx }"),
        ("{ process: \"ng*\" }", "{ process: nginx, port: tcp/80 }"),
        ("{ container: web }", "{ container: web, address: 0.0.0.0 }"),
        ("{ address: 127.0.0.1 }", "{ address: 127.0.0.1, port: tcp/80 }"),
        ("{ uid: 7 }", "{ uid: 7 }"),
    ]) func `a rule that never decides is told, with the one that does`(
        first: String, second: String
    ) throws {
        let rules = "{ match: \(first), ignore: true }\n    - { match: \(second), ignore: false }"
        #expect(
            try warnings(rules) == [
                "s.yaml:5: warning: guestToHost.rules[1].match: rule 1 (line 4) is about all of these, and comes first, so "
                    + "this rule never decides; put it in front, or delete it"
            ])
    }

    @Test(arguments: [
        ("tcp/80", "\"*/80\""), ("tcp/80", "tcp/80-81"), ("tcp/80", "udp/80"),
        ("tcp/80", "{ uid: 7 }"),
        ("{ process: nginx }", "tcp/80"), ("{ process: \"ng*\" }", "{ process: \"n*\" }"),
        ("{ process: nginx }", "{ process: \"ng*\" }"), ("{ uid: 7 }", "{ uid: 8 }"),
        ("{ address: 127.0.0.1 }", "{ address: 0.0.0.0 }"), ("{ container: a }", "{ process: a }"),
    ]) func `a rule that may decide is not`(first: String, second: String) throws {
        let rules = "{ match: \(first), ignore: true }\n    - { match: \(second), ignore: false }"
        #expect(try warnings(rules).isEmpty)
    }

    @Test func `a switch that is off is told, and what says nothing for it`() throws {
        func found(_ text: String) throws -> [String] {
            let settings = try SettingsFile.decode(text, file: "s.yaml")
            return SettingsWarnings.lines(settings, file: "s.yaml", addresses: [])
        }
        let off = "s.yaml: warning: hostNetworking.enabled is false, so nothing is mirrored; "
        #expect(try found("") == ["\(off)\"twinport enable\" switches it on"])
        let rule = "rules: [{ match: tcp/80, ignore: true }]"
        #expect(
            try found("hostNetworking: {enabled: true}\nhostToGuest: {enabled: false, \(rule)}\n")
                == [
                    "s.yaml: warning: hostToGuest.enabled is false, so its rules say nothing"
                ])
        #expect(try found("hostNetworking: {enabled: true}\nguestToHost: {enabled: false}") == [])
    }

    @Test(arguments: [
        (
            "guestToHost:\n  only:\n",
            "s.yaml:2:8: guestToHost.only: expected a list of ports, as [tcp/80], found nothing; write [] for no "
                + "port, or delete the key for all"
        ),
        ("hostToGuest: {only: ~}", "s.yaml:1:21: hostToGuest.only: expected a list of ports"),
        ("tunnel: {connect: \"tcp://0.0.0.0:80\", key: /k}", "tunnel.connect: 0.0.0.0 is all addr"),
        (
            "tunnel: {listen: \"tcp://224.0.0.1:80\", key: /k}",
            "tunnel.listen: 224.0.0.1 is no addr"
        ),
        ("tunnel: {connect: \"vsock://any:80\"}", "tunnel.connect: any is who may call"),
        ("tunnel: {listen: \"vsock://2:80\"}", "tunnel.listen: 2 is no guest's number"),
    ]) func `what cannot be meant is an error`(text: String, words: String) {
        do {
            _ = try SettingsFile.decode(text, file: "s.yaml")
            Issue.record("\(text) is valid")
        } catch {
            #expect("\(error)".contains(words), "\(error)")
        }
    }

    @Test func `vsock's loopback is a place for both ends`() throws {
        let found = try SettingsFile.decode("tunnel: {listen: \"vsock://1:80\"}", file: "s.yaml")
        #expect(found.tunnel == .listen(.vsock(cid: 1, port: 80)))
    }
}
