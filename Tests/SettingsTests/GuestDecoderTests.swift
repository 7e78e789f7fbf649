import Settings
import Testing
import TwinportModel

private func guest(_ more: String = "", name: String = "web-vm", at path: String = "/a") -> String {
    "  - { name: \(name), tunnel: { listen: \"unix://\(path)\" }\(more.isEmpty ? "" : ", " + more) }\n"
}

@Suite struct GuestDecoderTests {
    private func settings(_ text: String) throws -> Settings {
        try SettingsFile.decode(text, file: "s.yaml")
    }

    @Test func `a guest has what the file says of all, and its own keys in place of that`() throws {
        let found = try settings(
            """
            guestToHost: { bind: loopback, ignore: [tcp/25], rules: [{ match: tcp/1, bind: same }] }
            hostToGuest: { showOwners: true }
            udp: { idle: 5s }
            guests:
              - name: web-vm
                tunnel: { listen: "unix:///a", key: /k }
                address: 127.0.1.2
                guestToHost: { ignore: [], rules: [] }
                udp: { ephemeralAfter: never }
              - { name: db, enabled: false, tunnel: { connect: "vsock://5:1024" } }
            """)
        let (web, db) = (found.guests[0], found.guests[1])
        #expect(found.allGuests == found.guests && found.guests.count == 2)
        #expect(web.name == "web-vm" && web.isEnabled && web.tunnelKey == "/k")
        #expect(web.tunnel == .listen(.unix(path: "/a")))
        #expect(web.address == IPAddress("127.0.1.2"))
        #expect(web.guestToHost.bind == .loopback && web.guestToHost.ignore.isEmpty)
        #expect(web.guestToHost.rules.isEmpty && web.hostToGuest.showsOwners)
        #expect(web.udp.idle == 5_000 && web.udp.ephemeralAfter == nil)
        #expect(!db.isEnabled && db.guestToHost == found.guestToHost)
        #expect(db.tunnel == .connect(.vsock(cid: 5, port: 1_024)) && db.udp == found.udp)
        #expect(found.hostsLines == ["127.0.1.2 web-vm"])
        #expect(try placeless(settings(SettingsText.text(found))) == placeless(found))
    }

    /// Rules stand on other lines in a file that was made.
    private func placeless(_ settings: Settings) -> Settings {
        func moved(_ rules: [MirrorRule]) -> [MirrorRule] {
            rules.map { rule in
                var rule = rule
                rule.place = RulePlace(number: rule.place.number, line: 0)
                return rule
            }
        }
        var settings = settings
        settings.guestToHost.rules = moved(settings.guestToHost.rules)
        for index in settings.guests.indices {
            settings.guests[index].guestToHost.rules = moved(
                settings.guests[index].guestToHost.rules)
        }
        return settings
    }

    @Test func `a file without guests means one, at its tunnel`() throws {
        let one = try settings("tunnel: { listen: \"unix:///t\" }\nudp: { idle: 5s }\n").allGuests
        #expect(one.count == 1 && one[0].name == "" && one[0].udp.idle == 5_000)
        #expect(one[0].tunnel == .listen(.unix(path: "/t")) && one[0].address == nil)
        #expect(try settings("").hostsLines.isEmpty)
    }

    @Test(arguments: [
        ("guests:\n", "s.yaml:1:8: guests: expected a list of guests, found nothing"),
        ("tunnel: {}\nguests:\n\(guest())", "s.yaml:1:9: tunnel: guests is set as well"),
        ("guests:\n  - { name: a }\n", "s.yaml:2:5: guests[0]: guest a needs a tunnel of its own"),
        ("guests:\n  - { tunnel: {} }\n", "s.yaml:2:5: guests[0]: a guest needs a name of a-z"),
        (
            "guests:\n  - { name: a, tunnel: { key: /k } }\n",
            "s.yaml:2:24: guests[0].tunnel: expected listen or connect, found neither"
        ),
        (
            "guests:\n\(guest())\(guest(at: "/b"))",
            "s.yaml:3:5: guests[1]: two guests are called web-vm"
        ),
        (
            "guests:\n\(guest())\(guest(name: "b"))",
            "s.yaml:3:5: guests[1]: guest b has its tunnel at unix:///a, where guest web-vm has its own"
        ),
        (
            "guests:\n\(guest("address: 127.0.1.2"))\(guest("address: 127.0.1.2", name: "b", at: "/b"))",
            "s.yaml:3:5: guests[1]: guest b has the address 127.0.1.2, which guest web-vm has as well"
        ),
        ("guests:\n\(guest("scan: {}"))", "guests[0]: unknown key \"scan\""),
        ("guests:\n\(guest("guestToHost: { bnd: same }"))", "did you mean bind?"),
    ]) func `what is wrong has its place, and what to do`(text: String, found: String) {
        #expect(fileProblem(text).contains(found), "\(fileProblem(text))")
    }

    @Test(arguments: [
        "Web", "web_vm", "-a", "a-", "\"\"", "a.b", "localhost", "ünï", "\"a b\"",
        String(repeating: "a", count: 64),
    ]) func `names that no machine could have`(name: String) {
        #expect(fileProblem("guests:\n\(guest(name: name))").contains("guests[0].name: expected"))
    }

    @Test(arguments: ["127.0.0.1", "10.0.0.1", "\"::1\"", "0.0.0.0", "127.0.0.0", "web"])
    func `addresses that are not loopback's, or everybody's`(address: String) {
        let said = fileProblem("guests:\n\(guest("address: \(address)"))")
        #expect(said.contains("guests[0].address: expected an address of 127.0.0.0/8"), "\(said)")
    }

    @Test func `vsock ports that only one can listen at are a conflict of guests`() {
        let text = """
            guests:
              - { name: a, tunnel: { listen: "vsock://3:1024" } }
              - { name: b, tunnel: { listen: "vsock://4:1024" } }
            """
        #expect(fileProblem(text).contains("each needs another place"))
    }

    @Test func `a forward is one guest's`() throws {
        let forward = "{ guest: unix:///a, host: unix:///b, listen: host }"
        let guests = try settings(
            "guests:\n\(guest("forwards: [\(forward)]"))\(guest(name: "b", at: "/b"))"
        ).allGuests
        #expect(guests.map(\.forwards.count) == [1, 0])
        let one = "forwards: [\(forward)]"
        let both = "guests:\n\(guest(one))\(guest(one, name: "b", at: "/b"))"
        #expect(
            fileProblem(both).contains(
                "listens at unix:///b on the host, and so has guest web-vm"))
        let above = "forwards: [\(forward)]\nguests:\n\(guest())"
        #expect(fileProblem(above).contains("1:11: forwards: guests is set as well"))
        let read = try settings(SettingsText.text(try settings("forwards: [\(forward)]")))
        #expect(read.allGuests[0].forwards.count == 1)
    }

    @Test func `a key of two guests is a warning`() throws {
        let text = """
            guests:
              - { name: a, tunnel: { listen: "unix:///a", key: /k } }
              - { name: b, tunnel: { listen: "unix:///b", key: /k } }
            hostNetworking: { enabled: true }
            """
        let lines = SettingsWarnings.lines(try settings(text), file: "s", addresses: [])
        #expect(lines.count == 1 && lines[0].contains("guests: a, b have the same tunnel.key"))
    }

    @Test func `a rule that can do nothing is told once, and where`() throws {
        let rule = "rules: [{ match: { address: 224.0.0.1 }, ignore: true }]"
        let on = "hostNetworking: { enabled: true }\n"
        let text =
            "guestToHost: { \(rule) }\nguests:\n\(guest())\(guest(name: "b", at: "/b"))\(on)"
        let lines = SettingsWarnings.lines(try settings(text), file: "s", addresses: [])
        #expect(lines.count == 1 && lines[0].hasPrefix("s:1: warning: guestToHost.rules[0]."))
        let own = "guests:\n\(guest("guestToHost: { \(rule) }"))\(on)"
        let other = SettingsWarnings.lines(try settings(own), file: "s", addresses: [])
        #expect(other.count == 1)
        #expect(other[0].hasPrefix("s:2: warning: guests[web-vm].guestToHost.rules[0]."))
    }
}
