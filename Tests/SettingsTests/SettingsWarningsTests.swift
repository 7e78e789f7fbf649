import Settings
import Testing
import TwinportModel

@Suite struct SettingsWarningsTests {
    private func warnings(
        _ rule: String, _ addresses: [IPAddress] = [.loopbackV4, IPAddress("192.168.1.5")!]
    ) throws -> [String] {
        let text = "guestToHost:\n  rules:\n    - \(rule)\n"
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
        #expect(found[0].hasPrefix("s.yaml:3: warning: guestToHost.rules[0]."), "\(found)")
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
    ]) func `what cannot be meant is an error`(text: String, words: String) {
        do {
            _ = try SettingsFile.decode(text, file: "s.yaml")
            Issue.record("\(text) is valid")
        } catch {
            #expect("\(error)".contains(words), "\(error)")
        }
    }
}
