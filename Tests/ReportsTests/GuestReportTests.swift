import Foundation
import Reports
import Testing
import TwinportModel

/// What the helper says of several guests.
@Suite struct GuestReportTests {
    private static func row(_ name: String, isUp: Bool) -> GuestReport {
        var row = GuestReport()
        row.name = name
        row.tunnel = "unix:///\(name)"
        row.session = isUp ? .up : .down
        row.sessionError = isUp ? nil : "no guest has connected yet"
        row.guest =
            isUp
            ? GuestIdentity(
                hostname: "vm-\(name)", os: "Linux", kernel: "6", agentVersion: "1", instance: "f")
            : nil
        row.hints = isUp ? "kernel" : nil
        row.states = ["active": 2]
        row.flows = 3
        row.counters = ["acceptPauses": 1]
        return row
    }

    private func status(_ rows: GuestReport...) -> StatusReport {
        var status = StatusReport()
        status.enabled = true
        status.takeAll(rows)
        return status
    }

    private func port(
        _ number: UInt16, _ guest: String, _ state: MirrorState = .active, _ reason: Reason = .none
    ) -> PortSnapshot {
        var row = PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.loopbackV4, number),
            mirrors: state == .active ? [Endpoint(.loopbackV4, number)] : [], state: state,
            reason: reason)
        row.guest = guest
        return row
    }

    @Test func `the sums are of all, and who is missing is said`() {
        let status = status(Self.row("web", isUp: true), Self.row("db", isUp: false))
        #expect(status.session == .down && status.states == ["active": 4] && status.flows == 6)
        #expect(status.sessionError == "db: no guest has connected yet")
        #expect(status.counters == ["acceptPauses": 2])
        #expect(status.guest == nil && status.narrowed(to: "x") == nil)
        let web = status.narrowed(to: "web")
        #expect(web?.session == .up && web?.guest?.hostname == "vm-web" && web?.flows == 3)
        #expect(
            status.problem(withGuest: "x") == "there is no guest \"x\": expected one of web, db")
        #expect(StatusReport().problem(withGuest: "x").contains("there is one guest only"))
    }

    @Test func `status has a block for each guest`() {
        let lines = StatusText.lines(
            status(Self.row("web", isUp: true), Self.row("db", isUp: false)))
        #expect(lines.contains("Guests:          1 of 2 connected"))
        #expect(lines.contains { $0.hasPrefix("  web:") && $0.contains("up (unix:///web)") })
        #expect(lines.contains { $0.contains("down (unix:///db): no guest has connected yet") })
    }

    @Test func `tables have the guests' names where there are several`() {
        let text = PortsTable.text([port(80, "web"), port(80, "db")])
        let lines = text.split(separator: "\n")
        #expect(lines[0].hasPrefix("GUEST  DIRECTION"))
        #expect(lines[1].hasPrefix("db ") && lines[2].hasPrefix("web "))
        #expect(!PortsTable.text([port(80, "")]).contains("GUEST"))
        let narrow = PortsTable.text([port(80, "web")], width: 60)
        #expect(narrow.contains("web") && narrow.contains("127.0.0.1:80"))
        var flow = FlowSnapshot(
            id: 7, direction: .guestToHost, transport: .tcp, listener: Endpoint(.anyV4, 80),
            mirror: Endpoint(.loopbackV4, 80), client: Endpoint(.loopbackV4, 40_000),
            state: .open, bytesIn: 1, bytesOut: 2, ageSeconds: 3, idleSeconds: 4)
        #expect(!FlowsTable.text([flow]).contains("GUEST"))
        flow = flow.of("web")
        #expect(FlowsTable.text([flow]).split(separator: "\n")[1].hasPrefix("web"))
    }

    @Test func `a filter takes a guest's name`() throws {
        let filter = try PortFilter(["guest=w*"])
        #expect(filter.matches(port(80, "web")) && !filter.matches(port(80, "db")))
    }

    @Test func `metrics have a label for each guest, and none for the only one`() {
        let ports = [port(80, "web"), port(80, "db")]
        let report = MetricsReport(
            status: status(Self.row("web", isUp: true), Self.row("db", isUp: false)), ports: ports)
        let text = MetricsText.text(report, .openmetrics)
        for line in [
            #"twinport_session_up{guest="web"} 1"#, #"twinport_session_up{guest="db"} 0"#,
            #"twinport_listeners{guest="db",direction="guest-to-host",state="active"} 1"#,
            #"twinport_accept_pauses_total{guest="web"} 1"#,
            #"twinport_kernel_hints{guest="web",machine="guest"} 1"#,
            #"twinport_port_flows{guest="web",direction="guest-to-host",protocol="tcp",listener="127.0.0.1:80"} 0"#,
        ] {
            #expect(text.contains(line + "\n"), "\(line)\n\(text)")
        }
        let one = MetricsText.text(
            MetricsReport(status: StatusReport(), ports: [port(80, "")]), .openmetrics)
        #expect(!one.contains("guest=\""))
    }

    private func explain(_ number: String, _ ports: [PortSnapshot]) throws -> String {
        let status = status(Self.row("web", isUp: true), Self.row("db", isUp: false))
        let outlooks = Outlook.guests(
            of: status, defaultSettings: nil,
            lines: ["guestToHost.only": 3, "guests[web].guestToHost.only": 9])
        let question = try #require(PortQuestion(number))
        return ExplainReport(question, ports: ports, guests: outlooks).text
    }

    @Test func `a conflict with another guest names it, and what to do`() throws {
        let reason = Reason.guestHolds("db", Endpoint(.loopbackV4, 80))
        let text = try explain("80", [port(80, "web", .conflict, reason), port(80, "db")])
        #expect(text.contains("A TCP listener on 127.0.0.1:80 in guest web is not mirrored."))
        #expect(text.contains("127.0.0.1:80 on the host is where guest db has a mirror"))
        #expect(text.contains("address: 127.0.1.2 in guests"))
        #expect(text.contains("as the first of guestToHost.rules of guest web in the settings"))
        #expect(text.contains("- { match: tcp/80, onConflict: next }"))
        #expect(text.contains("A TCP listener on 127.0.0.1:80 in guest db is mirrored"))
        #expect(text.contains("The tunnel to guest db is down (no guest has connected yet)"))
    }

    @Test func `lines are of the guest's own part of the file before those of all`() throws {
        let left = try explain("80", [port(80, "web", .ignored, .notNamed(.guestToHost))])
        #expect(left.contains("guestToHost.only (line 9)"))
        #expect(!left.contains("guest db"))
        let other = try explain("80", [port(80, "db", .ignored, .notNamed(.guestToHost))])
        #expect(other.contains("guestToHost.only (line 3)"))
        #expect(try explain("81", []).contains("in any guest or on the host"))
    }

    @Test func `the doctor looks at each guest`() {
        var facts = DoctorFacts()
        let status = status(Self.row("web", isUp: true), Self.row("db", isUp: false))
        facts.status = status
        facts.guests = ["web", "db"].map { name in
            var about = DoctorFacts()
            about.guest = name
            about.status = status.narrowed(to: name)
            return about
        }
        facts.ports = [
            port(80, "web", .conflict, .guestHolds("db", Endpoint(.loopbackV4, 80)))
        ]
        let lines = Diagnosis(facts).lines
        #expect(lines.contains { $0.hasPrefix("✔ web: guest: vm-web is connected") })
        #expect(lines.contains { $0.hasPrefix("✘ db: guest: no guest has connected yet") })
        #expect(lines.contains { $0.hasPrefix("✘ conflicts: web: tcp 127.0.0.1:80 (guest db's") })
        #expect(lines.contains("✔ hints: the guest web's kernel says when listeners change"))
    }
}
