import Reports
import Testing
import TwinportModel

@Suite struct PortFilterTests {
    private static let web = PortSnapshot(
        direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 8_080),
        state: .active, owner: "12/nginx", container: Container(id: "c0ffee", name: "web-1"),
        bytesIn: 5, bytesOut: 5)
    private static let dns = PortSnapshot(
        direction: .hostToGuest, kind: .udp, listener: Endpoint(.loopbackV6, 53),
        state: .conflict, owner: "7/dnsmasq", bytesIn: 100)
    private static let bare = PortSnapshot(
        direction: .guestToHost, kind: .tcp, listener: Endpoint(.loopbackV4, 9_000), state: .pending
    )
    private static let all = [web, dns, bare]

    private func found(_ texts: String...) throws -> [Port] {
        let filter = try PortFilter(texts)
        return Self.all.filter(filter.matches).map(\.listener.port)
    }

    @Test func `conditions of one key are alternatives, keys must all hold`() throws {
        #expect(try found() == [8_080, 53, 9_000])
        #expect(try found("state=conflict") == [53])
        #expect(try found("state=conflict,state=active") == [8_080, 53])
        #expect(try found("state=conflict", "state=active,protocol=tcp") == [8_080])
        #expect(try found("port=8000-9000,direction=guest-to-host") == [8_080, 9_000])
        #expect(try found("port=53") == [53])
        #expect(try found("port=54-8079").isEmpty)
    }

    @Test func `containers and processes are found by name, number and pattern`() throws {
        for glob in ["web-1", "web*", "w?b-?", "c0ff*", "*"] {
            #expect(try found("container=\(glob)") == [8_080], "\(glob)")
        }
        for glob in ["nginx", "12/nginx", "ng*x", "12/*", "*gin*"] {
            #expect(try found("process=\(glob)") == [8_080], "\(glob)")
        }
        #expect(try found("process=*") == [8_080, 53])
        #expect(try found("container=web").isEmpty)
        #expect(try found("process=NGINX").isEmpty)
    }

    @Test(arguments: [
        ("state", "expected KEY=VALUE"), ("state=", "expected KEY=VALUE"),
        ("", "expected KEY=VALUE"), ("state=active,", "expected KEY=VALUE"),
        ("state=busy", "expected active, pending, conflict"),
        ("port=x", "expected a port, as 8000, or a range"), ("port=9-8", "or a range"),
        ("port=1-2-3", "or a range"), ("port=70000", "or a range"), ("port=-5", "or a range"),
        ("protocol=http", "expected tcp, udp"), ("direction=up", "expected guest-to-host"),
        ("colour=red", "there is no filter \"colour\": expected one of state, port"),
    ])
    func `what is no filter is said`(text: String, problem: String) {
        let error = #expect(throws: PortFilter.Problem.self) { try PortFilter([text]) }
        #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
    }

    @Test func `patterns with many stars are decided in no time`() throws {
        let stars = String(repeating: "*a", count: 30)
        var port = Self.web
        port.owner = "1/" + String(repeating: "a", count: 29) + "b"
        let matches = try PortFilter(["process=\(stars)c"]).matches(port)
        #expect(!matches)
    }

    @Test func `orders`() {
        func ports(_ order: PortOrder) -> [Port] {
            order.sorted(Self.all.reversed()).map(\.listener.port)
        }
        #expect(ports(.port) == [53, 8_080, 9_000])
        #expect(ports(.state) == [8_080, 53, 9_000])
        #expect(ports(.traffic) == [53, 8_080, 9_000])
        #expect(ports(.container) == [8_080, 9_000, 53])
    }
}
