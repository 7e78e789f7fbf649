import Foundation
import Reports
import Testing
import TwinportModel

@Suite struct AgentDiagnosisTests {
    private var good: AgentStatus {
        var status = AgentStatus()
        status.version = "1.0"
        status.tunnel = "vsock://2:1024"
        status.hasKey = true
        status.seesAllProcesses = true
        status.hints = "kernel"
        status.clients = ClientView(seen: .real, wanted: .real)
        status.host = PeerIdentity(
            hostname: "desk", os: "Linux", kernel: "6.1", program: "1.0", instance: 1)
        return status
    }

    private func lines(
        _ ports: [PortSnapshot] = [], _ change: (inout AgentStatus) -> Void = { _ in }
    ) -> [String] {
        var status = good
        change(&status)
        return Diagnosis(AgentFacts(status: status, ports: ports, version: "1.0")).lines
    }

    @Test func `a guest that is as it should be`() {
        let lines = lines()
        #expect(lines.allSatisfy { $0.hasPrefix("✔") }, "\(lines)")
        let checks = lines.compactMap { $0.dropFirst(2).split(separator: ":").first }
        #expect(
            checks == [
                "agent", "tunnel", "key", "versions", "hints", "processes", "sock_diag", "rules",
                "clients", "conflicts", "other listeners", "forwards", "loops",
            ])
    }

    @Test func `what is wrong has a mark and a fix`() {
        let changes: [(String, (inout AgentStatus) -> Void)] = [
            (
                "✘ tunnel: vsock://2:1024: refused",
                { ($0.host, $0.sessionError) = (nil, "refused") }
            ),
            ("– key: none is set", { $0.hasKey = false }),
            ("– hints: the kernel does not say", { $0.hints = "none: needs root" }),
            ("– processes: not all", { $0.seesAllProcesses = false }),
            ("✘ processes: they are not known", { $0.ownersError = "it ended" }),
            ("– sock_diag: the kernel does not", { $0.hasSocketAnswers = false }),
            ("– rules: ports that only rules", { $0.published = "none: needs CAP_NET_ADMIN" }),
            (
                "– clients: servers see",
                { $0.clients = ClientView(seen: .guest, wanted: .real, why: "rtnetlink") }
            ),
            ("– versions: this program 1.0, agent 2", { $0.version = "2" }),
        ]
        for (line, change) in changes {
            let lines = lines([], change)
            let index = lines.firstIndex { $0.hasPrefix(line) }
            #expect(index != nil, "\(line): \(lines)")
            if let index { #expect(lines[index + 1].hasPrefix("  → ")) }
            #expect(Diagnosis.isHealthy(lines.joined(separator: "\n")) == !line.hasPrefix("✘"))
        }
        let taken = PortSnapshot(
            direction: .hostToGuest, kind: .tcp, listener: Endpoint(.loopbackV4, 80),
            state: .conflict, reason: .inUse(Endpoint(.loopbackV4, 80)))
        #expect(lines([taken]).contains("  → twinport-agent explain 80/tcp"))
    }

    @Test func `without an agent that is what is wrong, also in JSON`() throws {
        let diagnosis = Diagnosis(AgentFacts(agentError: "no agent answers", version: "1.0"))
        #expect(diagnosis.lines.first == "✘ agent: no agent answers" && !diagnosis.healthy)
        let json = try PlainJSON.text(diagnosis)
        #expect(!Diagnosis.isHealthy(json))
        #expect(try JSONDecoder().decode(Diagnosis.self, from: Data(json.utf8)) == diagnosis)
    }

    @Test func `JSON without Foundation is the JSON that Foundation writes`() throws {
        var row = PortSnapshot(
            direction: .guestToHost, kind: .udp, listener: Endpoint(.anyV6, 53), state: .active,
            owner: "7/\"q\\u\n\u{1}\u{7f}é/\u{1f980}",
            container: Container(id: "c0", name: "web"), bytesIn: .max)
        row.rule = RulePlace(number: 2, line: 9)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        func expected(_ value: some Encodable) throws -> String {
            String(decoding: try encoder.encode(value), as: UTF8.self)
        }
        #expect(try PlainJSON.text([row, row]) == expected([row, row]))
        #expect(try PlainJSON.text([PortSnapshot]()) == "[]")
        #expect(try PlainJSON.text(StatusReport()) == expected(StatusReport()))
        for status in [AgentStatus(), good] {
            #expect(try PlainJSON.text(status) == expected(status))
        }
        let report = ExplainReport(PortQuestion("53")!, ports: [row], outlook: Outlook(good))
        #expect(try PlainJSON.text(report) == expected(report))
    }
}
