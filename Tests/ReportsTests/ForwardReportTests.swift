import Reports
import Testing
import TwinportModel

/// What is said of forwards, and of several guests, where rows of ports would mislead.
@Suite struct ForwardReportTests {
    private func forward(_ state: MirrorState, _ reason: String) -> PortSnapshot {
        var row = PortSnapshot(
            direction: .guestToHost, kind: .unix, listener: Endpoint(.anyV4, 0), state: state,
            reason: .other(reason))
        row.forward = ForwardView(
            place: RulePlace(number: 2, line: 14), service: "unix:///run/docker.sock",
            socket: "127.0.0.1:2375")
        return row
    }

    private func finding(_ row: PortSnapshot, _ check: String) -> Finding? {
        var facts = DoctorFacts()
        facts.status = StatusReport()
        facts.ports = [row]
        return Diagnosis(facts).findings.first { $0.check == check }
    }

    @Test func `a forward that waits for its service is no fault, and one that is refused is`() {
        let waits = forward(.unavailable, "/run/docker.sock does not exist")
        let found = finding(waits, "forwards")
        #expect(found?.result == .note && found?.text.contains("does not exist") == true)
        #expect(found?.fix == "twinport explain unix:///run/docker.sock")
        #expect(finding(waits, "other listeners")?.result == .ok)
        #expect(finding(forward(.denied, "no"), "forwards")?.result == .problem)
    }

    @Test func `the fix of a conflict asks for a forward by its place`() {
        let taken = finding(forward(.conflict, "in use"), "conflicts")
        #expect(taken?.fix == "twinport explain unix:///run/docker.sock")
    }

    @Test func `a forward is found by the port where programs connect`() throws {
        let row = forward(.active, "")
        #expect(try PortFilter(["port=2375"]).matches(row))
        #expect(try !PortFilter(["port=2376"]).matches(row))
    }

    @Test func `a rule is quoted with the key that it has`() throws {
        for (direction, key) in [(Direction.guestToHost, "host"), (.hostToGuest, "guest")] {
            var rule = MirrorRule(place: RulePlace(number: 1, line: 8), match: RuleMatch())
            rule.target = RuleTarget("8000")
            var row = PortSnapshot(
                direction: direction, kind: .tcp, listener: Endpoint(.loopbackV4, 9_229),
                mirrors: [Endpoint(.loopbackV4, 8_000)], state: .active)
            row.rule = rule.place
            var outlook = Outlook(StatusReport())
            outlook.rules = [direction: [rule]]
            let text = Explanation.text(of: row, guests: [outlook])
            #expect(text.contains("decides about it: \(key): 8000."), "\(text)")
        }
    }

    @Test func `a mirror at its guest's address is there because of that`() throws {
        var guest = GuestReport()
        (guest.name, guest.address, guest.session) = ("web", "127.0.1.2", .up)
        var status = StatusReport()
        (status.enabled, status.guests) = (true, [guest])
        var outlooks = Outlook.guests(of: status, defaultSettings: nil, lines: [:])
        outlooks[0].bind = .auto
        var row = PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 8_000),
            mirrors: [Endpoint(try #require(IPAddress("127.0.1.2")), 8_000)], state: .active)
        row.guest = "web"
        let text = Explanation.text(of: row, guests: outlooks)
        #expect(text.contains("It is at 127.0.1.2 because that is the guest's address"), "\(text)")
        #expect(!text.contains("same would let them"))
    }
}
