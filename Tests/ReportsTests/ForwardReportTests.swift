import Reports
import Testing
import TwinportModel

/// What is said of forwards, and of several guests, where rows of ports would mislead.
@Suite struct ForwardReportTests {
    private func forward(_ state: MirrorState, _ reason: String) -> PortSnapshot {
        var row = PortSnapshot(
            direction: .guestToHost, kind: .unix, listener: Endpoint(.anyV4, 0), state: state,
            reason: Reason(text: reason))
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
        #expect(
            found?.fix?.hasPrefix(
                "start the service that makes /run/docker.sock in the guest, or name its place in the settings (line 14)"
            ) == true, "\(found?.fix ?? "")")
        #expect(finding(waits, "other listeners")?.result == .ok)
        #expect(finding(forward(.denied, "no"), "forwards")?.result == .problem)
    }

    static let troubles: [(ForwardTrouble, MirrorState, String)] = [
        (
            .missing("/run/docker.sock"), .unavailable,
            "start the service that makes /run/docker.sock in the guest"
        ),
        (.noSocket("/run/docker.sock"), .unavailable, "is a file of another kind"),
        (.noSocket("/h"), .conflict, "delete /h on the host if nothing needs it"),
        (.silent("/run/docker.sock"), .unavailable, "start the service again"),
        (
            .nothingListens(Endpoint(.loopbackV4, 80)), .unavailable,
            "start the service at 127.0.0.1:80 in the guest"
        ),
        (
            .pathInUse("/h"), .conflict,
            "end the program that listens at /h (\"ss -xlp\" on the host names it)"
        ),
        (.anothersSocket("/h", user: 7), .conflict, "delete /h"),
        (.unsafeOwner("/h", user: 7), .denied, "add uid: 7 to the forward"),
        (.unsafeMode("/h"), .denied, "Fix: chmod go-w /h on the host, or"),
        (.unsafeMode("/h;curl x|sh"), .denied, "Fix: chmod go-w '/h;curl x|sh' on the host, or"),
        (.noSocket("/h; reboot"), .conflict, "delete '/h; reboot' on the host"),
        (.unsafeWay("/h"), .denied, "other users' links"),
        (.oddLink("/h"), .denied, "other users' links"),
        (.replaced("/h"), .denied, "other users' links"),
        (.noRights(user: 7), .denied, "run the helper as root"),
        (.noFolder("/run"), .unavailable, "name another place"),
        (.system("/h", "Permission denied"), .denied, "reach the file and its folders"),
        (
            .system("/h", "Read-only file system"), .unavailable,
            "ReadWritePaths= with \"systemctl edit twinport@UID\""
        ),
        (.system("/h", "File name too long"), .unavailable, "107 bytes"),
        (.system("/h", "Input/output error"), .unavailable, "start the service"),
        (.notAllowed, .denied, "--forwards unix:///run/docker.sock, or TWINPORT_FORWARDS="),
        (.tooOld, .unsupported, "install this version of twinport-agent"),
        (.openerEnded, .unavailable, "restart the program that says so"),
    ]

    @Test(arguments: troubles) func `each reason of a forward has a code and a fix of its own`(
        trouble: ForwardTrouble, state: MirrorState, fix: String
    ) {
        let row = forward(state, trouble.text)
        #expect(row.reason == .forward(trouble))
        #expect(row.reason.forwardCode?.isEmpty == false && row.reason.forwardCode != "other")
        let text = Explanation.text(of: row, guests: [Outlook(StatusReport())])
        #expect(text.contains("  Fix: ") && text.contains(fix), "\(text)")
    }

    @Test func `a path is of the machine that has such an end, and of neither if both have`() {
        var row = forward(.unavailable, "/run/a.sock does not exist")
        for (service, socket, words) in [
            ("unix:///run/a.sock", "unix:///run/b.sock", "in the guest, or"),
            ("unix:///srv/b.sock", "unix:///run/a.sock", "on the host, or"),
            ("unix:///run/a.sock", "unix:///run/a.sock", "on the machine that lacks it, or"),
        ] {
            row.forward?.service = service
            row.forward?.socket = socket
            let text = Explanation.text(of: row, guests: [Outlook(StatusReport())])
            #expect(text.contains("makes /run/a.sock \(words)"), "\(text)")
        }
    }

    @Test func `a place that is taken, forbidden or not there has a fix, too`() {
        let place = Endpoint(.loopbackV4, 80)
        let reasons: [(Reason, MirrorState, String, String)] = [
            (.heldBy(owner: "7/nginx", place), .conflict, "in-use", "end what listens there"),
            (
                .needsPrivilege(80), .denied, "needs-privilege",
                "CAP_NET_BIND_SERVICE for the helper"
            ),
            (.noSuchAddress(.loopbackV6), .unavailable, "no-such-address", "that the host has"),
            (.targetFails(3), .active, "no-answer", "see in the guest whether something answers"),
            (
                .untold, .unavailable, "not-told",
                "\"twinport explain unix:///run/docker.sock\" on the host"
            ),
        ]
        for (reason, state, code, fix) in reasons {
            let row = forward(state, reason.text)
            #expect(row.reason == reason && reason.forwardCode == code)
            let text = Explanation.text(of: row, guests: [Outlook(StatusReport())])
            #expect(text.contains(fix), "\(text)")
        }
    }

    @Test func `in the guest the far end is called by the forward's number`() {
        var row = forward(.active, "")
        row.forward?.socket = "(forward 2 on the host)"
        let text = Explanation.text(of: row, guests: [Outlook(AgentStatus())])
        #expect(
            text.contains("its end on the host, which \"twinport ports\" names there"), "\(text)")
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
