import Foundation
import Reports
import Testing
import TwinportModel

/// The JSON of events, byte for byte.
@Suite struct HelperEventTests {
    private static let events: [(kind: HelperEvent.Kind, json: String)] = [
        (
            .node(
                .port(
                    PortSnapshot(
                        direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80),
                        state: .active))),
            #""port":{"bytesIn":0,"bytesOut":0,"container":null,"direction":"guest-to-host","flows":0"#
                + #","forward":null,"listener":"0.0.0.0:80","mirror":null,"owner":null,"protocol":"tcp""#
                + #","published":null,"reason":null,"rule":null,"state":"active","uid":null}"#
                + #","time":9}"#
        ),
        (
            .node(.portGone(.hostToGuest, .udp, Endpoint(.loopbackV6, 53))),
            #""direction":"host-to-guest","kind":"port-gone","listener":"[::1]:53","number":7"#
                + #","protocol":"udp","time":9}"#
        ),
        (
            .node(
                .sessionUp(
                    PeerIdentity(
                        hostname: "vm", os: "Linux", kernel: "6.1", program: "0.1.0",
                        instance: 255))),
            #""guest":{"agentVersion":"0.1.0","hostname":"vm","instance":"ff","kernel":"6.1","#
                + #""os":"Linux"},"kind":"session-up","number":7,"time":9}"#
        ),
        (.node(.sessionDown("why")), #""kind":"session-down","number":7,"reason":"why","time":9}"#),
        (
            .node(.tunnelTrouble("why")),
            #""kind":"tunnel-trouble","number":7,"reason":"why","time":9}"#
        ),
        (.node(.mirrorsClosed), #""kind":"mirrors-closed","number":7,"time":9}"#),
        (
            .node(.limit(counter: "acceptPauses", times: 3)),
            #""counter":"acceptPauses","kind":"limit","number":7,"time":9,"times":3}"#
        ),
        (
            .settings(SettingsNews(enabled: true, tunnel: "unix:///t", error: nil)),
            #""enabled":true,"error":null,"errorOf":null,"kind":"settings","number":7,"time":9,"tunnel":"unix:///t"}"#
        ),
        (
            .settings(
                SettingsNews(enabled: true, tunnel: "unix:///t", error: "x", fault: .tunnel)),
            #""error":"x","errorOf":"tunnel","kind":"settings","number":7,"time":9,"tunnel":"unix:///t"}"#
        ),
        (
            .gap(EventGap(lost: 5, restarted: false)),
            #""kind":"gap","lost":5,"number":7,"restarted":false,"time":9}"#
        ),
        (
            .gap(EventGap(lost: nil, restarted: true)),
            #""kind":"gap","lost":null,"number":7,"restarted":true,"time":9}"#
        ),
    ]

    @Test func `every kind is written as documented, and read back`() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        for (kind, json) in Self.events {
            let event = HelperEvent(number: 7, time: 9, kind: kind)
            let text = String(decoding: try encoder.encode(event), as: UTF8.self)
            let old = text.replacing(#""guestName":null,"#, with: "")
            #expect(old.hasSuffix(json), "\(text)")
            #expect(try JSONDecoder().decode(HelperEvent.self, from: Data(text.utf8)) == event)
        }
        let kinds = Set(Self.events.map(\.kind.name))
        #expect(kinds == Set(HelperEvent.Kind.names + ["gap"]))
    }

    @Test func `an event of one guest of several names it, and so does its row`() throws {
        var ring = EventRing(startedAt: 0)
        let row = PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80), state: .active)
        ring.add(.node(.port(row)), guest: "web", time: 1)
        ring.add(.node(.mirrorsClosed), time: 1)
        let events = ring.events(after: 0, most: 9, now: 1)
        #expect(events.map(\.guest) == ["web", ""])
        #expect(events[0].kind == .node(.port(row.of("web"))))
        #expect(EventText.line(events[0]).hasPrefix("port            web: guest-to-host tcp"))
        let json = try JSONEncoder().encode(events[0])
        #expect(try JSONDecoder().decode(HelperEvent.self, from: json) == events[0])
        #expect(String(decoding: json, as: UTF8.self).contains(#""guestName":"web""#))
    }

    @Test(arguments: [
        #"{"kind":"port-gone","number":1,"time":1,"direction":"host-to-guest","protocol":"x","listener":"[::1]:53"}"#,
        #"{"kind":"port-gone","number":1,"time":1,"direction":"host-to-guest","protocol":"udp","listener":"?"}"#,
        #"{"kind":"news","number":1,"time":1}"#, #"{"kind":"gap","time":1}"#,
    ])
    func `what is no event is refused`(json: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(HelperEvent.self, from: Data(json.utf8))
        }
    }
}
