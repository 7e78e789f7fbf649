import Control
import Foundation
import Testing

private func port(_ state: String, _ reason: String? = nil, mirror: String? = nil) -> PortReport {
    PortReport(
        direction: "guest-to-host", protocol: "tcp", listener: "0.0.0.0:80", mirror: mirror,
        state: state, reason: reason, owner: "7/nginx", container: nil, flows: 2, bytesIn: 0,
        bytesOut: 0)
}

private var up: StatusReport {
    var status = StatusReport()
    status.enabled = true
    status.session = "up"
    return status
}

@Suite struct ExplanationTests {
    private func text(_ ports: [PortReport], _ status: StatusReport = up, _ name: String? = nil)
        -> String
    {
        Explanation.text(port: 80, protocol: name, ports: ports, status: status)
    }

    @Test func `an active mirror`() {
        #expect(
            text([port("active", mirror: "0.0.0.0:80")])
                == "A TCP listener on 0.0.0.0:80 in the guest (7/nginx) is mirrored at 0.0.0.0:80 of the host; 2 flows are open."
        )
    }

    @Test func `every other state says why and what to do`() {
        #expect(
            text([port("conflict", "9/apache holds 0.0.0.0:80")]).contains(
                "9/apache holds 0.0.0.0:80 on the host. Stop"))
        #expect(text([port("denied", "port 80 needs x")]).contains("Port 80 needs x"))
        #expect(
            text([port("unsupported", "interface-address")]).contains(
                "0.0.0.0, [::] or a loopback address"))
        #expect(text([port("ignored", "tcp/80")]).contains("rule tcp/80"))
        #expect(text([port("covered", "by [::]:80")]).contains("wildcard"))
        for state in ["pending", "unavailable", "limit", "disabled"] {
            #expect(text([port(state)]).contains("not mirrored"))
        }
    }

    @Test func `nothing there, off, and down are told apart`() {
        #expect(text([]).hasPrefix("Nothing that Twinport knows of listens on port 80,"))
        #expect(text([port("active")], up, "udp").contains("80/udp"))
        var off = up
        off.enabled = false
        #expect(text([], off).contains("twinport enable"))
        var down = up
        down.session = "down"
        down.sessionError = "gone"
        #expect(text([], down).contains("(gone)"))
    }

    @Test func `documented keys are there even when they have no value`() throws {
        let json = String(decoding: try JSONEncoder().encode(port("pending")), as: UTF8.self)
        #expect(json.contains("\"mirror\":null") && json.contains("\"reason\":null"))
        let back = try JSONDecoder().decode(PortReport.self, from: Data(json.utf8))
        #expect(back == port("pending"))
        let status = String(decoding: try JSONEncoder().encode(StatusReport()), as: UTF8.self)
        #expect(status.contains("\"settingsError\":null") && status.contains("\"guest\":null"))
    }
}
