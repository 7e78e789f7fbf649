import Reports
import Testing
import TwinportModel

@Suite struct TableFitTests {
    private let ports = [
        PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 8_000),
            mirrors: [Endpoint(.loopbackV4, 8_000)], state: .active,
            owner: "812/" + String(repeating: "x", count: 245)),
        PortSnapshot(
            direction: .hostToGuest, kind: .udp,
            listener: Endpoint(IPAddress("2001:db8:1111:2222:3333:4444:5555:6666")!, 65_535),
            state: .unsupported, reason: .interfaceAddress, owner: "7/server",
            container: Container(id: "c0ffee", name: "a-container-with-a-long-name")),
    ]

    private func lines(_ width: Int?) -> [Substring] {
        PortsTable.text(ports, width: width).split(separator: "\n")
    }

    @Test(arguments: [40, 60, 80, 100, 132, 200])
    func `ports fit the terminal, and every word can be read`(width: Int) {
        let lines = lines(width)
        for line in lines { #expect(line.count <= width, "\(line.count): \(line)") }
        for word in ["LISTENER", "STATE"] { #expect(lines[0].contains(word), "\(word)") }
        if width > 60 { #expect(lines[1].contains("0.0.0.0:8000")) }
        let rows = lines.split { !$0.hasPrefix("    ") }
        #expect(lines.filter { $0.contains("unsupported") }.count == 1)
        // A word that is longer than a line is broken.
        let below = rows.map { $0.map { $0.dropFirst(4) }.joined() }
        #expect(below[0].contains("x\(String(repeating: "x", count: 200))"), "\(below)")
        let last = below[1].replacing(" ", with: "")
        for word in [
            "2001:db8:1111:2222:3333:4444:5555:6666]:65535", "a-container-with-a-long-name",
        ]
        where width < 80 || !lines.joined().contains(word) {
            #expect(last.contains(word), "\(last)")
        }
        #expect(last.hasSuffix("interface-address"), "\(last)")
    }

    @Test(arguments: [80, 60])
    func `a reason is told below its row, in whole words`(width: Int) {
        var taken = ports[0]
        taken.owner = "812/nginx"
        taken.state = .conflict
        taken.reason = .otherFamily(owner: "4711/java", Endpoint(.loopbackV6, 8_000))
        taken.rule = RulePlace(number: 2, line: 14)
        let lines = PortsTable.text([taken], width: width).split(separator: "\n")
        #expect(lines[1].contains("0.0.0.0:8000") && lines[1].contains("conflict"))
        #expect(lines[2].hasPrefix("    ") && lines[2].hasSuffix(width == 80 ? ")" : "java;"))
        let text = lines.joined(separator: " ").replacing("     ", with: " ")
        #expect(text.contains("localhost is [::1]:8000 of 4711/java; rule 2 (line 14)"), "\(text)")
        #expect(lines.last?.hasSuffix("| cat.") == true)
        for line in lines { #expect(line.count <= width, "\(line)") }
    }

    @Test(arguments: [60, 80, 100, nil])
    func `flows fit the terminal, and their addresses are whole`(width: Int?) {
        let flow = FlowSnapshot(
            id: 71_234, direction: .guestToHost, transport: .tcp, listener: ports[1].listener,
            mirror: Endpoint(.anyV4, 8_000), client: Endpoint(IPAddress("192.168.1.5")!, 40_000),
            state: .halfClosed, bytesIn: 1_234_567, bytesOut: 7, ageSeconds: 4_000, idleSeconds: 61)
        let lines = FlowsTable.text([flow], width: width).split(separator: "\n")
        let text = lines.joined(separator: " ")
        for word in ["192.168.1.5:40000", "0.0.0.0:8000", ports[1].listener.description] {
            #expect(text.contains(word), "\(text)")
        }
        for line in lines { #expect(line.count <= width ?? .max, "\(line)") }
        #expect(text.contains("half-closed"))
        if let width, width < 100 { #expect(text.contains("192.168.1.5:40000 → 0.0.0.0:8000 →")) }
    }

    @Test func `nothing is cut where no terminal shows it, and where all fits`() {
        #expect(lines(nil)[1].contains(String(repeating: "x", count: 245)))
        #expect(lines(500) == lines(nil) && !lines(500).joined().contains("…"))
        #expect(lines(nil)[0].contains("CONTAINER"))
    }

    @Test func `80 columns have the direction and the owner`() {
        let header = lines(80)[0]
        for word in ["DIR", "PROTO", "OWNER"] {
            #expect(header.contains(word), "\(word): \(header)")
        }
    }

    @Test func `words are quoted for a shell where they must be`() {
        #expect(ShellWord.quoted("/etc/twinport/settings.yaml") == "/etc/twinport/settings.yaml")
        #expect(ShellWord.quoted("") == "''" && ShellWord.quoted("a b") == "'a b'")
        #expect(ShellWord.quoted("it's") == "'it'\\''s'")
        #expect(NearestWord.to("statsu", among: ["ports", "status"]) == "status")
        #expect(NearestWord.to("nwe", among: ["new", "show"]) == "new")
        #expect(NearestWord.to("ab", among: ["ba"]) == "ba")
        #expect(NearestWord.to("abc", among: ["bca"]) == nil)
        #expect(NearestWord.to("bogus", among: ["ports", "status"]) == nil)
        #expect(NearestWord.to("x", among: ["up"]) == nil)
    }
}
