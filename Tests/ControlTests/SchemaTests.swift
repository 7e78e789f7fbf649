import Foundation
import Reports
import TestSupport
import Testing
import TwinportModel

@Suite struct SchemaTests {
    private func faults(_ value: some Encodable, _ schema: Schema) throws -> [String] {
        let text = String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
        return try SchemaCheck.faults(text, schema.text)
    }

    @Test func `everything that is written is as its schema says`() throws {
        var status = StatusReport()
        #expect(try faults(status, .status).isEmpty)
        status.guest = GuestIdentity(
            hostname: "vm", os: "Linux", kernel: "6.1", agentVersion: "1", instance: "f")
        status.sessionSeconds = 3
        status.states = ["active": 1]
        #expect(try faults(status, .status).isEmpty)
        let port = PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80), state: .active)
        #expect(try faults([port], .ports).isEmpty)
        var ruled = port
        (ruled.uid, ruled.rule) = (1_000, RulePlace(number: 2, line: 9))
        #expect(try faults([ruled], .ports).isEmpty)
        let kinds: [HelperEvent.Kind] = [
            .node(.port(port)), .node(.portGone(.hostToGuest, .udp, Endpoint(.anyV4, 1))),
            .node(.sessionDown("x")), .node(.tunnelTrouble("x")), .node(.mirrorsClosed),
            .node(.limit(counter: "x", times: 1)),
            .node(
                .sessionUp(
                    PeerIdentity(hostname: "", os: "", kernel: "", program: "", instance: 1))),
            .settings(SettingsNews(enabled: true, tunnel: "", error: nil)),
            .gap(EventGap(lost: nil, restarted: true)),
        ]
        for kind in kinds {
            let event = HelperEvent(number: 1, time: 2, kind: kind)
            #expect(try faults(event, .events) == [], "\(kind.name)")
        }
        #expect(Set(kinds.map(\.name)).count == 9)
    }

    @Test func `explain and doctor are as their schemas say`() throws {
        let port = PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80), state: .active)
        for text in ["80", "80/tcp", "81"] {
            let report = ExplainReport(
                PortQuestion(text)!, ports: [port], outlook: Outlook(StatusReport()))
            #expect(try faults(report, .explain) == [])
        }
        #expect(try faults(Diagnosis(DoctorFacts()), .doctor) == [])
        let agent = AgentFacts(status: AgentStatus(), ports: [port], version: "1")
        #expect(try faults(Diagnosis(agent), .doctor) == [])
    }

    @Test func `the check finds what is missing, not documented or of another type`() throws {
        let schema = Schema.events.text
        for json in [
            #"{"kind":"mirrors-closed","number":1}"#,
            #"{"kind":"mirrors-closed","number":1,"time":2,"more":3}"#,
            #"{"kind":"mirrors-closed","number":"1","time":2}"#,
            #"{"kind":"mirrors-closed","number":true,"time":2}"#,
            #"{"kind":"news","number":1,"time":2}"#,
        ] {
            #expect(try !SchemaCheck.faults(json, schema).isEmpty, "\(json)")
        }
    }
}
