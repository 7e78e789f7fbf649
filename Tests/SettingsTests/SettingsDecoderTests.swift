import Settings
import TestSupport
import Testing
import TwinportModel

private let full = """
    # everything
    hostNetworking:
      enabled: true   # on
    enhancedContainerIsolation: false
    tunnel:
      connect: vsock://3:1024
      key: /etc/k
    guestToHost:
      enabled: true
      bind: loopback
      scope: containers
      only: ["*/*"]
      clientAddress: guest
      ignore: [tcp/22, udp/5000-5010, "*/631"]
    hostToGuest:
      enabled: false
      only: []
      ignore: []
      showOwners: true
      otherGuests: true
    udp: { idle: 5m, ephemeralAfter: never }
    scan: { interval: 25ms, hints: false }

    """

@Suite struct SettingsDecoderTests {
    @Test func `every key is read`() throws {
        let settings = try SettingsFile.decode(full, file: "s.yaml")
        #expect(settings.isEnabled && !settings.isEnhancedContainerIsolation)
        #expect(settings.tunnel == .connect(.vsock(cid: 3, port: 1_024)))
        #expect(settings.tunnelKey == "/etc/k")
        #expect(settings.guestToHost.bind == .loopback)
        #expect(settings.guestToHost.scope == .containers)
        #expect(settings.guestToHost.clientAddress == .guest)
        #expect(
            settings.guestToHost.ignore.map(\.description) == ["tcp/22", "udp/5000-5010", "*/631"])
        #expect(settings.guestToHost.only == [PortRule("*/*")!])
        #expect(!settings.hostToGuest.isEnabled)
        #expect(settings.hostToGuest.only == [] && settings.hostToGuest.showsOwners)
        #expect(settings.hostToGuest.offersGuests)
        #expect(settings.udp.idle == 300_000 && settings.udp.ephemeralAfter == nil)
        #expect(settings.scan.interval == 25 && !settings.scan.usesHints)
    }

    @Test func `an empty file holds the defaults, and they are off`() throws {
        for text in ["", "\n", "# nothing\n", "{}", "hostNetworking:\n"] {
            #expect(try SettingsFile.decode(text, file: "s.yaml") == Settings())
        }
        #expect(!Settings().isEnabled)
    }

    @Test func `settings survive a round trip through their text`() throws {
        let settings = try SettingsFile.decode(full, file: "s.yaml")
        #expect(try SettingsFile.decode(SettingsText.text(settings), file: "s.yaml") == settings)
    }

    @Test(arguments: [
        (
            "hostNetworking:\n  enabeld: true",
            "s.yaml:2:3: hostNetworking: unknown key \"enabeld\"; did you mean enabled?; known here: enabled"
        ),
        (
            "hostNetworking: {enabled: \"true\"}",
            "s.yaml:1:27: hostNetworking.enabled: expected true or false without quotes, found \"true\""
        ),
        (
            "guestToHost:\n  bind: lan",
            "s.yaml:2:9: guestToHost.bind: expected auto, same or loopback, found \"lan\""
        ),
        (
            "guestToHost:\n  clientAddress: proxy",
            "s.yaml:2:18: guestToHost.clientAddress: expected real, guest or loopback, found \"proxy\""
        ),
        (
            "guestToHost:\n  ignore:\n    - tcp/22\n    - tcp/70000",
            "s.yaml:4:7: guestToHost.ignore[1]: expected ports as tcp/22, udp/5000-5010 or tcp/*, found \"tcp/70000\""
        ),
        (
            "udp: {idle: 5 minutes}",
            "s.yaml:1:13: udp.idle: expected a duration of 1s to 24h, as 300s, found \"5 minutes\""
        ),
        (
            "tunnel:\n  listen: tcp://1.2.3.4:5",
            "s.yaml:2:11: tunnel.listen: a tcp:// tunnel is encrypted and needs tunnel.key, the path of a key file that \"twinport key new PATH\" makes"
        ),
        (
            "hostNetworking: 7",
            "s.yaml:1:17: hostNetworking: expected a mapping with enabled, found \"7\""
        ),
        (
            "- a",
            "s.yaml:1:1: expected a mapping with hostNetworking, enhancedContainerIsolation, tunnel, guestToHost, hostToGuest, forwards, udp, scan, guests, found a list"
        ),
    ]) func `errors name place, key, what was expected and what was found`(
        text: String, expected: String
    ) {
        #expect(fileProblem(text) == expected)
    }

    @Test func `YAML errors and double keys have a place too`() {
        #expect(fileProblem("a: [1, 2").hasPrefix("s.yaml:"))
        #expect(fileProblem("udp: {}\nudp: {}").contains("twice"))
        #expect(
            fileProblem("tunnel: {listen: \"unix:///a\", connect: \"unix:///b\"}").contains(
                "tunnel.listen is set as well"))
    }

    @Test func `isolation and host networking exclude each other, with the reason`() {
        let text = "hostNetworking: {enabled: true}\nenhancedContainerIsolation: true\n"
        #expect(
            fileProblem(text).hasPrefix(
                "s.yaml:2:29: enhancedContainerIsolation: Enhanced Container Isolation keeps"))
        #expect(fileProblem("enhancedContainerIsolation: true") == "right")
    }

    @Test func `no truncation or mutation of a file traps`() {
        for count in 0...full.utf8.count {
            _ = fileProblem(String(decoding: full.utf8.prefix(count), as: UTF8.self))
        }
        var generator = SeededGenerator()
        for _ in 0..<2_000 {
            var bytes = Array(full.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0...2, using: &generator) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                default:
                    bytes.insert(
                        ":{}[]&*!|>'\"%@`,#- \n\t".utf8.randomElement(using: &generator)!, at: index
                    )
                }
            }
            _ = fileProblem(String(decoding: bytes, as: UTF8.self))
        }
    }

    @Test(arguments: [
        ("udp:\n\tidle: 5s\n", "s.yaml:2:1: not YAML: a tab; use spaces to indent"),
        ("udp:\n  idle: 5s\n\t# more\n\nscan:\n \thints: true\n", "s.yaml:3:1: not YAML: a tab"),
        ("udp:\t@\n", "s.yaml:1:6: not YAML: a lone @, which YAML reserves"),
    ]) func `a tab is named where YAML wants spaces`(text: String, found: String) {
        #expect(fileProblem(text).hasPrefix(found), "\(fileProblem(text))")
    }

    @Test(arguments: [
        (
            "udp: {}\nscan: {}\nudp: {}\n",
            "s.yaml:3:1: the key udp is there twice; delete one of them"
        ),
        (
            "udp: {idle: 5s, idle: 6s}\n",
            "s.yaml:1:17: the key idle is there twice; delete one of them"
        ),
        (
            "scan:\n  hints: true\nudp:\n  idle: 5s # idle: once\n  # idle: 6s\n  idle: 7s\n",
            "s.yaml:6:3: the key idle is there twice; delete one of them"
        ),
        ("# idle\r\nudp:\r\n  \"idle\": 5s\r\n  idle: [\r\n  ]\r\n", "s.yaml:4:3: the key idle"),
        (
            "guestToHost:\n  enabled: true\nhostToGuest:\n  enabled: true\n  enabled: false\n",
            "s.yaml:5:3: the key enabled is there twice; delete one of them"
        ),
    ]) func `a key that is there twice is shown where it stands the second time`(
        text: String, found: String
    ) {
        #expect(fileProblem(text).hasPrefix(found), "\(fileProblem(text))")
    }

    @Test func `a file that is missing is made by a command that can be copied`() {
        #expect(throws: SettingsError.self) {
            try SettingsFile.load("/none/my settings.yaml", mustExist: true)
        }
        do {
            _ = try SettingsFile.load("/none/my settings.yaml", mustExist: true)
        } catch {
            #expect(
                error.problem.contains("\"twinport enable --settings '/none/my settings.yaml'\""))
        }
    }

    @Test(arguments: [
        ("0s", 0), ("300s", 300_000), ("500ms", 500), ("5m", 300_000), ("24h", 86_400_000),
    ]) func `durations`(text: String, milliseconds: Int) {
        #expect(DurationText.milliseconds(text) == UInt64(milliseconds))
    }

    @Test(arguments: ["", "5", "s", "-1s", "1.5s", "25h", "99999999999999999999s", "1 s", "٣s"])
    func `what is not a duration`(text: String) {
        #expect(DurationText.milliseconds(text) == nil)
    }

    @Test(arguments: [
        "", "tcp", "tcp/", "tcp/0", "sctp/1", "tcp/5-4", "tcp/1-2-3", "tcp/+5", "tcp/65536",
    ])
    func `what is not a port rule`(text: String) {
        #expect(PortRule(text) == nil)
    }

    @Test(arguments: [
        "/a: b # c", "/with \"quotes\" and \\", "/ends:", "/tab\tand\nline", "/ünïcode/\u{1f980}",
        "/plain/path.key", "/a'b", "/*&!%@`",
    ]) func `paths of any kind are shown so that they read back`(path: String) throws {
        var settings = Settings()
        settings.isEnabled = true
        settings.tunnelKey = path
        settings.tunnel = .listen(.unix(path: path))
        let text = SettingsText.text(settings)
        #expect(try SettingsFile.decode(text, file: "f") == settings, "\(text)")
    }

    @Test(arguments: ["[", "{a: ", "- ", "? ", "&a [", "\u{22}", "!!x "])
    func `nesting without end is an error, not a crash`(piece: String) {
        let text = String(repeating: piece, count: 1_000_000 / piece.utf8.count)
        #expect(throws: SettingsError.self) { try SettingsFile.decode(text, file: "f") }
    }

    @Test func `control characters of the file are not for the terminal`() {
        let said = fileProblem("guestToHost: { bind: \"\\e[31m\\u202ERED\" }\n")
        #expect(said.contains("found \"?[31m?RED\""), "\(said)")
        #expect(!said.unicodeScalars.contains { $0.value < 32 || $0.value == 0x202E })
    }
}
