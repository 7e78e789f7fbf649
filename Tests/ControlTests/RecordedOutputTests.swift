import Foundation
import Reports
import Testing
import TwinportModel

/// The control API's answers, byte for byte as version 0.1.0 gave them.
@Suite struct RecordedOutputTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
            // What came later is beside what was there.
            .replacing(#""guestName":null,"#, with: "").replacing(#""guests":[],"#, with: "")
            .replacing(#""settingsErrorOf":null,"#, with: "")
    }

    private func reads<Value: Decodable & Equatable>(_ text: String, as value: Value) throws -> Bool
    {
        try JSONDecoder().decode(Value.self, from: Data(text.utf8)) == value
    }

    @Test func `ports`() throws {
        let postgres = Endpoint(.anyV4, 5_432)
        let ports = [
            PortSnapshot(
                direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80),
                mirrors: [Endpoint(.anyV4, 80)], state: .active, owner: "7/nginx",
                container: Container(id: "c0ffee", name: "web"), flows: 2, bytesIn: 10,
                bytesOut: .max),
            PortSnapshot(
                direction: .hostToGuest, kind: .udp, listener: Endpoint(.anyV6, 53),
                mirrors: [Endpoint(.loopbackV4, 53), Endpoint(.loopbackV6, 53)], state: .active),
            PortSnapshot(
                direction: .guestToHost, kind: .tcp, listener: Endpoint(.loopbackV4, 5_432),
                state: .conflict, reason: .heldBy(owner: "9/postgres", postgres),
                owner: "3/postgres"),
            PortSnapshot(
                direction: .guestToHost, kind: .sctp, listener: Endpoint(.anyV4, 9),
                state: .unsupported, reason: .notCarried(.sctp), container: .unknown),
        ]
        // What came later is beside what was there.
        let old = try json(ports).replacing(#""rule":null,"#, with: "")
            .replacing(#""published":null,"#, with: "")
            .replacing(#","uid":null"#, with: "").replacing(#""forward":null,"#, with: "")
        #expect(old == Recorded.ports)
        #expect(try reads(Recorded.ports, as: ports))
        var ruled = ports[0]
        ruled.uid = 1_000
        ruled.rule = RulePlace(number: 2, line: 7)
        #expect(
            try json(ruled).contains(
                #""rule":{"line":7,"number":2,"takesNextPort":false},"state""#))
        #expect(
            try reads(
                try json(ruled).replacing(#","takesNextPort":false"#, with: ""), as: ruled))
        #expect(try reads(try json(ruled), as: ruled))
    }

    @Test func `flows`() throws {
        let flows = [
            FlowSnapshot(
                id: 7, direction: .guestToHost, transport: .tcp, listener: Endpoint(.anyV4, 80),
                mirror: Endpoint(.loopbackV4, 80), client: Endpoint(.loopbackV4, 40_000),
                state: .halfClosed, bytesIn: 1, bytesOut: 2, ageSeconds: 3, idleSeconds: 4),
            FlowSnapshot(
                id: 8, direction: .hostToGuest, transport: .udp,
                listener: Endpoint(.loopbackV6, 53),
                mirror: Endpoint(.loopbackV6, 53), client: Endpoint(.loopbackV6, 40_000),
                state: .open, bytesIn: 0, bytesOut: 0, ageSeconds: 0, idleSeconds: 0),
        ]
        #expect(try json(flows) == Recorded.flows)
        #expect(try reads(Recorded.flows, as: flows))
    }

    @Test func `status, up and down`() throws {
        var status = StatusReport()
        status.version = "0.1.0"
        status.pid = 42
        status.enabled = true
        status.session = .up
        status.settingsPath = "/etc/twinport/settings.yaml"
        status.tunnel = "unix:///run/twinport/tunnel.sock"
        status.guest = GuestIdentity(
            hostname: "vm", os: "Linux", kernel: "6.1", agentVersion: "0.1.0", instance: "abc")
        status.hints.host = "kernel"
        status.hints.guest = "none: needs root"
        status.clients = ClientsReport(ClientView(seen: .guest, wanted: .real, why: "no rules"))
        status.uptimeSeconds = 9
        status.sessionSeconds = 8
        status.states = ["active": 2, "conflict": 1]
        status.flows = 2
        status.rssBytes = 1_000
        status.openDescriptors = 30
        status.counters = ["acceptPauses": 1]
        #expect(try json(status) == Recorded.up)
        #expect(try reads(Recorded.up, as: status))
        var down = StatusReport()
        down.sessionError = "no guest has connected yet"
        #expect(try json(down) == Recorded.down)
    }
}

private enum Recorded {
    static let ports =
        #"[{"bytesIn":10,"bytesOut":18446744073709551615,"container":{"id":"c0ff"#
        + #"ee","name":"web"},"direction":"guest-to-host","flows":2,"listener":"0."#
        + #"0.0.0:80","mirror":"0.0.0.0:80","owner":"7/nginx","protocol":"tcp","re"#
        + #"ason":null,"state":"active"},{"bytesIn":0,"bytesOut":0,"container":nul"#
        + #"l,"direction":"host-to-guest","flows":0,"listener":"[::]:53","mirror":"#
        + #""127.0.0.1:53,[::1]:53","owner":null,"protocol":"udp","reason":null,"s"#
        + #"tate":"active"},{"bytesIn":0,"bytesOut":0,"container":null,"direction""#
        + #":"guest-to-host","flows":0,"listener":"127.0.0.1:5432","mirror":null,""#
        + #"owner":"3/postgres","protocol":"tcp","reason":"9/postgres holds 0.0.0."#
        + #"0:5432","state":"conflict"},{"bytesIn":0,"bytesOut":0,"container":{"id"#
        + #"":"","name":"?"},"direction":"guest-to-host","flows":0,"listener":"0.0"#
        + #".0.0:9","mirror":null,"owner":null,"protocol":"sctp","reason":"sctp",""#
        + #"state":"unsupported"}]"#
    static let flows =
        #"[{"ageSeconds":3,"bytesIn":1,"bytesOut":2,"client":"127.0.0.1:40000",""#
        + #"direction":"guest-to-host","id":7,"idleSeconds":4,"listener":"0.0.0.0:"#
        + #"80","mirror":"127.0.0.1:80","protocol":"tcp","state":"half-closed"},{""#
        + #"ageSeconds":0,"bytesIn":0,"bytesOut":0,"client":"[::1]:40000","directi"#
        + #"on":"host-to-guest","id":8,"idleSeconds":0,"listener":"[::1]:53","mirr"#
        + #"or":"[::1]:53","protocol":"udp","state":"open"}]"#
    static let up =
        #"{"clients":{"seen":"guest","wanted":"real","why":"no rules"},"counters":{"acceptPauses":1},"enabled":true,"flows":2,"guest":{"agen"#
        + #"tVersion":"0.1.0","hostname":"vm","instance":"abc","kernel":"6.1","os""#
        + #":"Linux"},"hints":{"guest":"none: needs root","host":"kernel"},"openDescriptors":30,"ownersError":null,"pid":42,"publishedError":null,"rssBytes":1000,"session":"up""#
        + #","sessionError":null,"sessionSeconds":8,"settingsError":null,"settings"#
        + #"Path":"/etc/twinport/settings.yaml","states":{"active":2,"conflict":1}"#
        + #","tunnel":"unix:///run/twinport/tunnel.sock","tunnelWarning":null,"uptimeSeconds":9,"versio"#
        + #"n":"0.1.0"}"#
    static let down =
        #"{"clients":null,"counters":{},"enabled":false,"flows":0,"guest":null,"hints":{"guest":null,"host":""},"openDescriptors"#
        + #"":0,"ownersError":null,"pid":0,"publishedError":null,"rssBytes":0,"session":"down","sessionError":"no guest has"#
        + #" connected yet","sessionSeconds":null,"settingsError":null,"settingsPa"#
        + #"th":"","states":{},"tunnel":"","tunnelWarning":null,"uptimeSeconds":0,"version":""}"#
}
