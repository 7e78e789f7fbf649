import Foundation
import Reports
import Testing
import TwinportModel

private func port(
    _ state: MirrorState, _ reason: Reason = .none, mirrors: [Endpoint] = []
) -> PortSnapshot {
    PortSnapshot(
        direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80), mirrors: mirrors,
        state: state, reason: reason, owner: "7/nginx", flows: 2)
}

private var up: StatusReport {
    var status = StatusReport()
    status.enabled = true
    status.session = .up
    return status
}

@Suite struct ExplanationTests {
    private func text(
        _ ports: [PortSnapshot], _ status: StatusReport = up, _ transport: TransportProtocol? = nil
    )
        -> String
    {
        Explanation.text(
            PortQuestion(transport.map { "80/\($0.name)" } ?? "80")!, ports: ports,
            outlook: Outlook(status))
    }

    @Test func `an active mirror`() {
        #expect(
            text([port(.active, mirrors: [Endpoint(.anyV4, 80)])])
                == "A TCP listener on 0.0.0.0:80 in the guest (7/nginx) is mirrored at 0.0.0.0:80 of the host; 2 flows are open.\n"
                + "  The mirror holds that port of the host: a program there that binds it gets EADDRINUSE, "
                + "and may get the port when it tries again."
        )
    }

    @Test(arguments: [
        (ClientView(seen: .real, wanted: .real), "with their own addresses."),
        (
            ClientView(seen: .guest, wanted: .real, why: "no rules"),
            "with an address of the guest, and not their own (no rules)."
        ),
        (ClientView(seen: .guest, wanted: .guest), "with an address of the guest."),
        (ClientView(seen: .loopback, wanted: .loopback), "clientAddress is loopback."),
        (
            ClientView(seen: .loopback, wanted: .guest, why: "no address"),
            "of the guest's own loopback, which it may trust (no address)."
        ),
        (ClientView(seen: nil, wanted: .real), "says (real), if the guest can: "),
    ])
    func `an active mirror that other machines reach says whom its server sees`(
        view: ClientView, words: String
    ) {
        var status = up
        status.clients = ClientsReport(view)
        #expect(text([port(.active, mirrors: [Endpoint(.anyV4, 80)])], status).contains(words))
        let here = text([port(.active, mirrors: [Endpoint(.loopbackV4, 80)])], status)
        #expect(!here.contains("other machines"))
        let row = port(.active, mirrors: [Endpoint(.anyV4, 80)]).sayingThatClientsAreLoopback
        #expect(row.reason == .clientsAreLoopback && !text([row], status).contains("(its server"))
    }

    @Test func `every other state says why and what to do`() {
        #expect(
            text([port(.conflict, .heldBy(owner: "9/apache", Endpoint(.anyV4, 80)))]).contains(
                "Why: 9/apache holds 0.0.0.0:80 on the host.\n  Fix: stop"))
        #expect(text([port(.denied, .needsPrivilege(80))]).contains("Port 80 needs CAP_NET"))
        #expect(
            text([port(.unsupported, .interfaceAddress)]).contains(
                "0.0.0.0, [::] or a loopback address"))
        let unsupported: [(Reason, String)] = [
            (.boundToDevice("eth0"), "bound to the device eth0"),
            (.kernelSocket("vx0"), "kernel's own, of the interface vx0: no process"),
            (.kernelSocket(""), "kernel's own: no process holds it"),
            (.otherNamespace, "in another network namespace"),
            (.notListening, "bound, but does not listen"),
            (.notCarried(.sctp), "uses sctp, which"),
            (.other("of a later version"), "is not mirrored.\n  Why: of a later version."),
        ]
        for (reason, words) in unsupported {
            #expect(text([port(.unsupported, reason)]).contains(words))
        }
        #expect(
            text([port(.ignored, .rule(PortRule("tcp/80")!))]).contains(
                "guestToHost.ignore: tcp/80."))
        #expect(text([port(.covered, .coveredBy(Endpoint(.anyV6, 80)))]).contains("wildcard"))
        for state in [MirrorState.pending, .unavailable, .limit, .disabled] {
            #expect(text([port(state)]).contains("not mirrored"))
        }
    }

    @Test func `a forward at a mirror's place, and an owner that is looked for`() {
        let place = Endpoint(.loopbackV4, 80)
        let forward = text([port(.conflict, .forwardHolds(2, place))])
        #expect(forward.contains("127.0.0.1:80 on the host is where forward 2 of the settings"))
        #expect(forward.contains("Fix: let the forward listen elsewhere"))
        let early = text([port(.pending, .ownerNotKnownYet)])
        #expect(early.contains("its process is not known yet") && !early.contains("root"))
    }

    @Test func `a rule is named, by either number, and a conflict has a line that mends it`() {
        var moved = port(.active, mirrors: [Endpoint(.loopbackV4, 8_080)])
        moved.rule = RulePlace(number: 2, line: 9)
        for question in ["80", "8080"] {
            let text = Explanation.text(
                PortQuestion(question)!, ports: [moved], outlook: Outlook(up))
            #expect(text.contains("is mirrored at 127.0.0.1:8080 of the host"))
            #expect(text.contains("\n  Rule 2 (line 9) of guestToHost.rules decides about it."))
        }
        var taken = port(
            .conflict, .mirrorHolds(listener: Endpoint(.anyV4, 90), Endpoint(.loopbackV4, 8_080)))
        taken.rule = moved.rule
        let text = Explanation.text(PortQuestion("8080")!, ports: [taken], outlook: Outlook(up))
        #expect(text.contains("127.0.0.1:8080 on the host is where 0.0.0.0:90 is mirrored already"))
        #expect(
            text.hasSuffix(
                "Rule 2 (line 9) of guestToHost.rules decides about it.\n  Fix: To mend it, add onConflict: next to rule 2 (line 9)."
            ))
        taken.rule?.takesNextPort = true
        let last = Explanation.text(PortQuestion("8080")!, ports: [taken], outlook: Outlook(up))
        #expect(last.hasSuffix("decides about it."))
        taken.rule = nil
        let free = Explanation.text(PortQuestion("8080")!, ports: [taken], outlook: Outlook(up))
        #expect(free.hasSuffix("in the settings: - { match: tcp/80, onConflict: next }"))
        #expect(
            self.text([port(.conflict, .loop)]).hasSuffix("- { match: tcp/80, ignore: true }"))
        let kept = Reason.keptFor(seconds: 5, owner: "7/x", Endpoint(.anyV4, 80))
        #expect(!self.text([port(.conflict, kept)]).contains("match:"))
        #expect(
            self.text([port(.ignored, .ruleNumber(2, .guestToHost))]).contains(
                "left out by rule 2 of guestToHost.rules"))
        #expect(
            self.text([port(.pending, .needsOwner(2, .guestToHost))]).contains(
                "is not mirrored yet.\n  Why: rule 2 of guestToHost.rules asks for its process"))
    }

    @Test func `each listener has a block of its own, in a fixed order`() {
        let second = port(.ignored, .notNamed(.guestToHost))
        var first = second
        first.listener = Endpoint(.loopbackV4, 79)
        first.mirrors = [Endpoint(.loopbackV4, 80)]
        first.state = .active
        var last = second
        last.direction = .hostToGuest
        last.state = .pending
        last.reason = .tunnelDown
        let text = text([last, second, first])
        #expect(text == self.text([first, last, second]))
        let blocks = text.components(separatedBy: "\n\n")
        #expect(blocks.count == 3)
        #expect(blocks[0].contains("127.0.0.1:79 in the guest (7/nginx) is mirrored at"))
        #expect(
            blocks[1]
                == "A TCP listener on 0.0.0.0:80 in the guest (7/nginx) is left out by guestToHost.only, "
                + "which does not name it.\n  Fix: add tcp/80 to that list.")
        #expect(blocks[2].hasSuffix("is not mirrored yet.\n  Why: the tunnel is down."))
    }

    @Test func `what each rule is about`() {
        var rules = [RuleMatch(process: "ng*"), RuleMatch(uid: 7), RuleMatch()].enumerated().map {
            MirrorRule(place: RulePlace(number: $0.offset + 1, line: 4), match: $0.element)
        }
        rules[0].target = RuleTarget("8080")
        rules[1].isIgnored = true
        rules[2].takesNextPort = true
        var unknown = port(.pending, .needsOwner(1, .guestToHost))
        unknown.owner = ""
        var other = port(.active, mirrors: [Endpoint(.anyV4, 80)])
        other.owner = "8/x"
        let nginx = port(.active, mirrors: [Endpoint(.anyV4, 8_080)])
        #expect(
            RuleReport.lines(rules, .guestToHost, [unknown, other, nginx]) == [
                "guestToHost.rules, rule 1 (line 4): host: 8080",
                "  tcp 0.0.0.0:80: pending, if its process were known",
                "  tcp 0.0.0.0:80 (7/nginx): active at 0.0.0.0:8080",
                "guestToHost.rules, rule 2 (line 4): ignore: true",
                "  decides about no listener now",
                "guestToHost.rules, rule 3 (line 4): onConflict: next",
                "  tcp 0.0.0.0:80 (8/x): active at 0.0.0.0:80",
            ])
        #expect(RuleReport.lines(rules, .hostToGuest, [nginx]).count == 6)
    }

    @Test(
        arguments: [
            ("80", nil), ("80/tcp", "tcp"), ("80/TCP", "tcp"), ("tcp/80", "tcp"), ("TCP/80", "tcp"),
            ("Udp/80", "udp"), (":80", nil), ("*:80", nil), ("127.0.0.1:80", nil),
            ("[::1]:80", nil),
            ("localhost:80", nil), ("tcp/127.0.0.1:80", "tcp"), ("[::]:80/udp", "udp"),
        ] as [(String, String?)])
    func `a port is understood as programs write it`(text: String, transport: String?) {
        let question = PortQuestion(text)
        #expect(question?.port == 80 && question?.transport?.name == transport, "\(text)")
    }

    @Test(arguments: [
        "", "/", "80/", "/tcp", "tcp/", "0", "65536", "+80", " 80", "80/icmp", "80/sctp", "tcp/udp",
        "80/80", "tcp/80/tcp", "x:80", "::1:80:", "127.0.0.1", "127.0.0.1:", "http", "8o",
    ]) func `everything else is no port`(text: String) {
        #expect(PortQuestion(text) == nil)
        #expect(PortQuestion.problem(with: text).contains("expected 80, 80/tcp or 53/udp"))
    }

    @Test func `a port counts as mirrored if a listener on it can be reached`() {
        func isMirrored(_ ports: [PortSnapshot], _ text: String = "80") -> Bool {
            ExplainReport(PortQuestion(text)!, ports: ports, outlook: Outlook(up)).mirrored
        }
        #expect(isMirrored([port(.active)]) && isMirrored([port(.covered)]))
        #expect(isMirrored([port(.conflict), port(.active)]))
        #expect(!isMirrored([]) && !isMirrored([port(.pending)]) && !isMirrored([port(.ignored)]))
        #expect(!isMirrored([port(.active)], "81") && !isMirrored([port(.active)], "80/udp"))
    }

    @Test func `a wrong settings file is not said to have been right before`() {
        var wrong = up
        wrong.settingsError = "s.yaml:1:1: bad"
        #expect(text([port(.active)], wrong).contains("host networking is on as before: s.yaml"))
        wrong.enabled = false
        let off = text([], wrong)
        #expect(off.contains("host networking is off as before: s.yaml:1:1: bad."))
        #expect(!off.contains("good"))
    }

    @Test func `settings that are in force but for a tunnel are not said to change nothing`() {
        var partly = up
        (partly.settingsError, partly.settingsErrorOf) = ("/run/x: in use", "tunnel")
        let said = text([port(.active)], partly)
        #expect(
            said.contains("in force, except for a tunnel that cannot be opened: /run/x: in use.")
                && !said.contains("changes nothing"), "\(said)")
        partly.enabled = false
        #expect(text([port(.active)], partly).contains("Host networking is off"))
        let lines = StatusText.lines(partly).joined(separator: "\n")
        #expect(lines.contains("in force, except for a tunnel that cannot be opened: /run/x"))
        partly.settingsErrorOf = "file"
        #expect(StatusText.lines(partly).contains { $0.hasSuffix(" not in force: /run/x: in use") })
    }

    @Test func `a published port that nobody serves says so`() {
        var row = port(.active, .targetFails(3))
        row.published = "ip nat DOCKER handle 7: dnat to 172.17.0.2:80"
        let said = text([row], up)
        #expect(said.contains("Why: nobody answers at its target: the last 3 connections failed."))
        #expect(said.contains("Fix: see whether something serves the rule's target"), "\(said)")
    }

    @Test func `the page is not called another Twinport's mirror`() {
        let said = text([port(.ignored, .ownPage)], up)
        #expect(said.contains("the page that \"twinport page\" serves"), "\(said)")
        #expect(!text([port(.ignored, .foreignMirror)], up).contains("page"))
    }

    @Test func `what to type names the settings file if it is not the usual one`() {
        var off = up
        off.enabled = false
        off.settingsPath = "/home/me/my settings.yaml"
        let usual = Outlook(off, defaultSettings: off.settingsPath)
        #expect(usual.noPorts.hasSuffix("off: twinport enable"))
        let other = Outlook(off, defaultSettings: "/etc/twinport/settings.yaml")
        let command = "twinport enable --settings '/home/me/my settings.yaml'"
        #expect(other.noPorts.hasSuffix(command))
        #expect(
            Explanation.text(PortQuestion("80")!, ports: [], outlook: other)
                .contains("\"\(command)\" switches it on"))
    }

    @Test func `nothing there, off, and down are told apart`() {
        #expect(text([]).hasPrefix("Nothing that Twinport knows of listens on port 80,"))
        #expect(text([port(.active)], up, .udp).contains("80/udp"))
        var off = up
        off.enabled = false
        #expect(text([], off).contains("twinport enable"))
        var down = up
        down.session = .down
        down.sessionError = "gone"
        #expect(text([], down).contains("(gone)"))
    }

    @Test func `the guest sees its own side`() {
        var status = AgentStatus()
        status.sessionError = "connect: refused"
        let mirrored = PortSnapshot(
            direction: .hostToGuest, kind: .tcp, listener: Endpoint(.loopbackV4, 80),
            mirrors: [Endpoint(.loopbackV4, 80)], state: .active, owner: "812/postgres", flows: 1)
        func text(_ port: PortSnapshot?) -> String {
            Explanation.text(
                PortQuestion("80")!, ports: port.map { [$0] } ?? [], outlook: Outlook(status))
        }
        // The row's sentences are the host's, the last one is about this side's tunnel.
        let down =
            "The tunnel to the host is down (connect: refused): is \"twinport host\" running on the host?"
        #expect(text(nil).hasSuffix("on port 80 in the guest.\n\n\(down)"))
        var kept = mirrored
        kept.state = .pending
        kept.reason = .tunnelDownKept(seconds: 7)
        #expect(
            text(kept)
                == "A TCP listener on 127.0.0.1:80 on the host (812/postgres) is mirrored at 127.0.0.1:80 of the "
                + "guest, but nothing answers there.\n"
                + "  Why: the tunnel is down; the port is kept for 7 s more.\n"
                + "  The mirror holds that port of the guest: a program there that binds it gets EADDRINUSE, "
                + "and may get the port when it tries again.\n\n\(down)")
        kept.mirrors = []
        #expect(text(kept).contains("is not mirrored yet.\n  Why: the tunnel is down"))
        status.host = PeerIdentity(
            hostname: "desk", os: "Linux", kernel: "6.1", program: "0.1.0", instance: 1)
        #expect(
            text(mirrored)
                == "A TCP listener on 127.0.0.1:80 on the host (812/postgres) is mirrored at 127.0.0.1:80 of the "
                + "guest; 1 flow is open.\n  The mirror holds that port of the guest: a program there that binds it "
                + "gets EADDRINUSE, and may get the port when it tries again.")
        var taken = mirrored
        taken.state = .conflict
        taken.reason = .heldBy(owner: "9/python3", Endpoint(.loopbackV4, 80))
        #expect(text(taken).contains("9/python3 holds 127.0.0.1:80 on the guest.\n  Fix: stop"))
    }

    @Test func `documented keys are there even when they have no value`() throws {
        let json = String(decoding: try JSONEncoder().encode(port(.pending)), as: UTF8.self)
        #expect(json.contains("\"mirror\":null") && json.contains("\"reason\":null"))
        let back = try JSONDecoder().decode(PortSnapshot.self, from: Data(json.utf8))
        #expect(back == port(.pending))
        let status = String(decoding: try JSONEncoder().encode(StatusReport()), as: UTF8.self)
        #expect(status.contains("\"settingsError\":null") && status.contains("\"guest\":null"))
    }
}

@Suite struct PortQuestionTests {
    @Test func `a port has a protocol or none`() {
        #expect(PortQuestion("80")?.text == "80" && PortQuestion("80")?.transport == nil)
        #expect(PortQuestion("80/tcp")?.transport == .tcp)
        #expect(PortQuestion("65535/udp")?.text == "65535/udp")
    }

    @Test(arguments: [
        "", "0", "65536", "-1", "80/", "/tcp", "80/tcp/", "80/sctp", "http", "80 ",
    ])
    func `anything else is no port`(text: String) {
        #expect(PortQuestion(text) == nil)
    }
}

@Suite struct StatusTextTests {
    @Test func `the agent's, up and down`() {
        var status = AgentStatus()
        status.version = "0.1.0"
        status.pid = 42
        status.tunnel = "vsock://2:1024"
        status.hints = "kernel"
        status.clients = ClientView(seen: .guest, wanted: .real, why: "no")
        status.sessionError = "gone"
        #expect(
            StatusText.lines(status) == [
                "Tunnel:          down (vsock://2:1024): gone", "Hints:           guest: kernel",
                "Clients:         other machines' seen as guest, not real: no",
                "Listeners:       none", "Flows:           0",
                "Agent:           0.1.0, pid 42, up 0s, 0B",
            ])
        status.sessionError = nil
        status.host = PeerIdentity(
            hostname: "desk", os: "Linux", kernel: "6.1", program: "0.2.0", instance: 1)
        status.hostHints = "none: needs root"
        status.states = ["active": 2, "conflict": 1]
        #expect(
            StatusText.lines(status).prefix(5) == [
                "Tunnel:          up (vsock://2:1024)",
                "Host:            desk, Linux 6.1, helper 0.2.0",
                "Hints:           guest: kernel; host: none: needs root",
                "Clients:         other machines' seen as guest, not real: no",
                "Listeners:       2 active, 1 conflict",
            ])
    }

    @Test func `the helper's; only a terminal gets colours`() {
        let status = up
        #expect(
            StatusText.lines(status).prefix(2) == ["Host networking: on", "Tunnel:          up ()"])
        #expect(
            StatusText.lines(status, isColoured: true)[1]
                == "Tunnel:          \u{1b}[32mup\u{1b}[0m ()")
    }

    @Test func `a table of ports has a row for each, and colours its states`() {
        let rows = [port(.active, mirrors: [Endpoint(.anyV4, 80)]), port(.conflict)]
        let lines = PortsTable.text(rows).split(separator: "\n")
        #expect(lines.count == 3 && lines[0].hasPrefix("DIRECTION"))
        #expect(lines[1].contains("0.0.0.0:80  active"))
        #expect(lines[2].contains("-           conflict"))
        #expect(PortsTable.text(rows, isColoured: true).contains("\u{1b}[31mconflict\u{1b}[0m"))
    }
}
