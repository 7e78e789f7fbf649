import Foundation
import Reports
import Settings
import Testing
import TwinportModel

/// What a new user read, and was misled by.
@Suite struct NewUserTests {
    private let otherKey =
        "the other end proves another key: do both ends have the same key? sha256sum tells, run on both key files"

    private var up: StatusReport {
        var status = StatusReport()
        (status.enabled, status.session) = (true, .up)
        return status
    }

    private func row(
        _ state: MirrorState, _ reason: Reason = .none, listener: Endpoint = Endpoint(.anyV4, 80),
        mirror: Endpoint? = nil, _ direction: Direction = .guestToHost
    ) -> PortSnapshot {
        PortSnapshot(
            direction: direction, kind: .tcp, listener: listener,
            mirrors: mirror.map { [$0] } ?? [],
            state: state, reason: reason)
    }

    private func explain(
        _ rows: [PortSnapshot], _ outlook: Outlook, _ port: String = "80"
    ) -> String {
        Explanation.text(PortQuestion(port)!, ports: rows, outlook: outlook)
    }

    @Test func `after a wrong key all speak of the key, and not of what runs`() {
        var status = up
        (status.session, status.sessionError) = (.down, otherKey)
        let host = explain([], Outlook(status))
        #expect(host.contains("is down: the other end proves another key"))
        #expect(host.contains("Fix: give both ends the same key") && !host.contains("running"))
        var agent = AgentStatus()
        agent.sessionError = otherKey
        let guest = explain([], Outlook(agent))
        #expect(guest.contains("Fix: give both ends the same key") && !guest.contains("running"))
        var facts = DoctorFacts()
        facts.status = status
        let finding = Diagnosis(facts).findings.first { $0.check == "guest" }
        #expect(finding?.fix?.hasPrefix("give both ends the same key") == true)
        let tunnel = Diagnosis(AgentFacts(status: agent, ports: [], version: "1")).findings
            .first { $0.check == "tunnel" }
        #expect(tunnel?.fix?.hasPrefix("give both ends the same key") == true)
        status.sessionError = "no guest has connected yet"
        #expect(explain([], Outlook(status)).contains("is twinport-agent running in the guest?"))
    }

    @Test func `the guest does not claim to know what the host hides`() {
        var agent = AgentStatus()
        agent.host = PeerIdentity(hostname: "d", os: "", kernel: "", program: "1", instance: 1)
        let text = explain([], Outlook(agent))
        #expect(text.contains("on port 80 in the guest, and the host tells of no listener there."))
        #expect(text.contains("\"twinport explain 80\" on the host does."))
        #expect(!text.contains("or on the host."))
        #expect(explain([], Outlook(up)).contains("in the guest or on the host."))
    }

    private func ruled(_ text: String, _ row: PortSnapshot, bind: String = "auto") throws -> String
    {
        let file = "guestToHost:\n  bind: \(bind)\n  rules:\n    - \(text)\n"
        let settings = try SettingsFile.decode(file, file: "s.yaml")
        var outlook = Outlook(up)
        outlook.rules = [.guestToHost: settings.guestToHost.rules]
        outlook.bind = settings.guestToHost.bind
        var row = row
        row.rule = settings.guestToHost.rules.first?.place
        row.rule?.takesNextPort = settings.guestToHost.rules.first?.takesNextPort ?? false
        return explain([row], outlook)
    }

    @Test func `explain says what a rule does, and why a mirror is elsewhere`() throws {
        let moved = row(.active, mirror: Endpoint(.loopbackV4, 8_080))
        let host = try ruled("{ match: tcp/80, host: 8080, proxyProtocol: 2 }", moved)
        #expect(host.contains("decides about it: host: 8080; proxyProtocol: 2 (each connection"))
        #expect(host.contains("It is at that port because the rule says host: 8080."))
        let next = try ruled("{ match: tcp/80, onConflict: next }", moved)
        #expect(next.contains("onConflict: next (where its port is taken, the mirror takes"))
        #expect(
            next.contains("It is not at port 80 because that one was taken: onConflict is next."))
        let beside = try ruled("{ match: tcp/80, host: 8079, onConflict: next }", moved)
        #expect(beside.contains("It is not at port 8079 because that one was taken"))
        // The file was changed since the rule decided: nothing is said of what it has now.
        var outlook = Outlook(up)
        outlook.rules = [.guestToHost: []]
        var stale = moved
        stale.rule = RulePlace(number: 1, line: 3)
        #expect(
            explain([stale], outlook).contains("guestToHost.rules decides about it.\n") == false)
        #expect(explain([stale], outlook).hasSuffix("decides about it."))
    }

    @Test func `explain says why a wildcard's mirror is on loopback`() throws {
        let own = row(.active, mirror: Endpoint(.loopbackV4, 80))
        var outlook = Outlook(up)
        #expect(!explain([own], outlook).contains("on loopback"))
        outlook.bind = .auto
        #expect(
            explain([own], outlook).contains("guestToHost.bind is auto and the listener is in no"))
        outlook.bind = .loopback
        #expect(explain([own], outlook).contains("because guestToHost.bind is loopback."))
        let wide = row(.active, mirror: Endpoint(.anyV4, 80))
        #expect(!explain([wide], outlook).contains("on loopback"))
        let ruled = try ruled("{ match: tcp/80, bind: loopback }", own)
        #expect(ruled.contains("because the rule's bind is loopback."))
    }

    @Test func `denied has a fix on either side`() {
        let host = explain([row(.denied, .needsPrivilege(80))], Outlook(up))
        #expect(
            host.contains("Fix: \"sudo sysctl net.ipv4.ip_unprivileged_port_start=80\" on the host")
        )
        #expect(host.hasSuffix("- { match: tcp/80, host: 8080 }"))
        let guest = explain([row(.denied, .needsPrivilege(80), .hostToGuest)], Outlook(up))
        #expect(guest.contains("in the guest, or CAP_NET_BIND_SERVICE for the agent."))
        #expect(explain([row(.denied)], Outlook(up)).contains("Fix: see the log of the helper"))
    }

    @Test func `the doctor says that all listeners are left out`() {
        func finding(_ rows: [PortSnapshot]) -> Finding? {
            var facts = DoctorFacts()
            facts.status = up
            facts.ports = rows
            return Diagnosis(facts).findings.first { $0.check == "other listeners" }
        }
        let ignored = row(.ignored, .notNamed(.guestToHost))
        let off = row(.disabled, .switchedOff("guestToHost.enabled is false"))
        for rows in [[ignored], [off, ignored]] {
            let found = finding(rows)
            #expect(found?.result == .note && found?.fix == "twinport explain 80/tcp")
            #expect(found?.text.hasPrefix("the settings leave out all of the guest's: ") == true)
        }
        #expect(finding([ignored, row(.active)])?.result == .ok && finding([])?.result == .ok)
        let all = row(.disabled, .switchedOff("hostNetworking.enabled is false"))
        #expect(finding([all])?.result == .ok)
    }

    @Test func `where there is no room, columns without anything go first`() {
        var one = row(.active, mirror: Endpoint(.loopbackV4, 80))
        one.owner = "812/nginx"
        let lines = PortsTable.text([one], width: 80).split(separator: "\n")
        #expect(lines.count == 2 && !lines[0].contains("CONTAINER") && !lines[0].contains("REASON"))
        for word in ["DIRECTION", "MIRROR", "FLOWS", "OUT", "OWNER"] {
            #expect(lines[0].contains(word), "\(word): \(lines[0])")
        }
        #expect(PortsTable.text([one], width: nil).contains("CONTAINER"))
        one.container = Container(id: "c", name: "web")
        #expect(PortsTable.text([one], width: 90).contains("web"))
    }
}
