import Reports
import Testing
import TwinportModel

@testable import Live

private func port(
    _ number: UInt16, _ state: MirrorState = .active, owner: String = "7/nginx",
    bytes: UInt64 = 0, direction: Direction = .guestToHost
) -> PortSnapshot {
    let listener = Endpoint(.loopbackV4, number)
    return PortSnapshot(
        direction: direction, kind: .tcp, listener: listener,
        mirrors: state == .active ? [listener] : [], state: state,
        reason: state == .conflict ? .heldBy(owner: "9/apache", listener) : .none, owner: owner,
        bytesIn: bytes)
}

private func flow(_ id: UInt64, _ port: UInt16, bytes: UInt64 = 0) -> FlowSnapshot {
    FlowSnapshot(
        id: id, direction: .guestToHost, transport: .tcp, listener: Endpoint(.loopbackV4, port),
        mirror: Endpoint(.loopbackV4, port), client: Endpoint(.loopbackV4, 40_000), state: .open,
        bytesIn: bytes, bytesOut: 0, ageSeconds: 3, idleSeconds: 1)
}

private var status: StatusReport {
    var status = StatusReport()
    (status.version, status.enabled, status.session) = ("0.1.0", true, .up)
    status.tunnel = "vsock://any:1024"
    status.states = ["active": 2, "conflict": 1]
    return status
}

private func moment(_ ports: [PortSnapshot], _ flows: [FlowSnapshot] = []) -> Moment {
    var moment = Moment()
    moment.take(.report(status, ports, flows), at: 1_000_000_000)
    return moment
}

@Suite struct TopTests {
    private let some = [port(80), port(8_080, .conflict, owner: "3/java"), port(53, .ignored)]

    private func lines(
        _ moment: Moment, _ state: inout TopState, _ columns: Int = 80, _ rows: Int = 24
    ) -> [String] {
        TopScreen.lines(moment, &state, columns: columns, rows: rows) { "about \($0.listener)" }
            .map(\.text)
    }

    @Test func `the screen is full and no line is wider, whatever the guest is called`() {
        var hostile = moment([
            port(80, owner: "7/\u{1b}[2J\u{202e}\n\(String(repeating: "漢", count: 200))")
        ])
        hostile.status.guest = GuestIdentity(
            hostname: "\u{1b}]0;x\u{7}", os: "L\r", kernel: "\u{9b}", agentVersion: "1",
            instance: "f")
        for moment in [hostile, moment(some, [flow(1, 80)]), moment([])] {
            for (columns, rows) in [(80, 24), (132, 50), (40, 12), (20, 10), (500, 100)] {
                for keys in ["", "f", "?", "\n", "/x"] {
                    var state = TopState()
                    for key in keys {
                        _ = state.press(
                            key == "\n" ? .enter : .character(key), selected: ListenerKey(port(80)))
                    }
                    let found = TopScreen.lines(
                        moment, &state, columns: columns, rows: rows
                    ) { _ in "long \u{1b} text" }
                    #expect(found.count == rows, "\(columns)×\(rows) \(keys)")
                    for line in found {
                        let text = line.escaped(columns, isColoured: false)
                            .replacing("\u{1b}[7m", with: "").replacing("\u{1b}[0m", with: "")
                            .replacing("\u{1b}[1m", with: "").replacing("\u{1b}[2m", with: "")
                        #expect(ScreenText.width(text) <= columns)
                        #expect(
                            text.unicodeScalars.allSatisfy {
                                $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value)
                            })
                    }
                }
            }
        }
        var state = TopState()
        #expect(lines(moment(some), &state, 10, 5) == ["too small", "q quits"])
    }

    @Test func `header, titles, rows, the row's whole text and the keys`() {
        var state = TopState(order: .port)
        let shown = lines(moment(some), &state)
        #expect(shown[0].hasPrefix("twinport 0.1.0, host networking on"))
        #expect(shown[0].hasSuffix("sort: port"))
        #expect(shown[1] == "Tunnel up (vsock://any:1024)")
        #expect(shown[2] == "3 listeners: 2 active, 1 conflict; 0 flows")
        #expect(shown[3] == "In 0B/s, out 0B/s; so far in 0B, out 0B")
        #expect(shown[4].hasPrefix("ON") && shown[4].contains("OUT/s"))
        #expect(shown[5].contains("127.0.0.1:53") && shown[7].contains("127.0.0.1:8080"))
        #expect(shown[21].contains("tcp 127.0.0.1:53; 7/nginx"))
        #expect(shown[23].hasPrefix("q quit  ? help"))
        _ = state.press(.end, selected: nil)
        #expect(lines(moment(some), &state)[21].contains("9/apache holds 127.0.0.1:8080"))
    }

    @Test func `80 columns have room for where the mirror is, and the cursor's row for why`() {
        var rows = [port(8_080, owner: "7/nginx"), port(15_432, .conflict, owner: "812/postgres")]
        rows[0].container = Container(id: "c0ffee", name: "web")
        let port80 = Reason.needsPrivilege(80)
        (rows[1].state, rows[1].reason) = (.denied, port80)
        var state = TopState(order: .port)
        let shown = lines(moment(rows), &state)
        for title in ["ON", "PROTO", "LISTENER", "MIRROR", "STATE", "IN/s", "OUT/s", "PROCESS"] {
            #expect(shown[4].contains(title), "\(title): \(shown[4])")
        }
        #expect(shown[5].split(separator: " ").filter { $0 == "127.0.0.1:8080" }.count == 2)
        _ = state.press(.down, selected: nil)
        let below = lines(moment(rows), &state)[21...22].joined(separator: " ")
        #expect(
            below.split(separator: " ").joined(separator: " ").contains(port80.text), "\(below)")
        // While somebody types, one of the two lines is theirs.
        _ = state.press(.character("/"), selected: nil)
        let typing = lines(moment(rows), &state)
        #expect(typing[22] == "/_" && typing[21].contains("tcp 127.0.0.1:15432"), "\(typing)")
    }

    @Test func `one guest of several is all there is, with --guest`() {
        var two = status
        two.guests = ["web", "db"].map { name in
            var guest = GuestReport()
            guest.name = name
            return guest
        }
        let answer = HelperAnswer.report(two, some.map { $0.of("web") }, [flow(1, 80).of("db")])
        guard case .report(let web, let ports, let flows) = answer.limited(to: "web") else {
            Issue.record("no report")
            return
        }
        #expect(web.guests.map(\.name) == ["web"] && ports.count == 3 && flows.isEmpty)
        guard case .trouble(let why) = answer.limited(to: "x") else {
            Issue.record("a report of nobody")
            return
        }
        #expect(why.contains("--guest x: there is no guest \"x\": expected one of web, db"))
    }

    @Test func `the fastest comes first, then by port; reversed the other way round`() {
        var now = moment([port(80), port(81), port(79)], [flow(1, 80), flow(2, 80)])
        now.take(
            .report(
                status, [port(80), port(81, bytes: 500), port(79)],
                [flow(1, 80), flow(2, 80, bytes: 100)]), at: 2_000_000_000)
        var state = TopState()
        #expect(TopRows.ports(now, state).map(\.listener.port) == [81, 79, 80])
        #expect(TopRows.flows(now, state).map(\.id) == [2, 1])
        #expect(lines(now, &state)[3].hasPrefix("In 500B/s, out 0B/s; so far in 500B"))
        _ = state.press(.character("r"), selected: nil)
        #expect(TopRows.ports(now, state).map(\.listener.port) == [80, 79, 81])
        for _ in TopOrder.allCases { _ = state.press(.character("s"), selected: nil) }
        #expect(state.order == .rate)
    }

    @Test func `a filter is words, or conditions; what is wrong with these is said`() {
        func shown(_ text: String) -> [UInt16] {
            TopRows.ports(moment(some), TopState(order: .port, filter: text)).map(\.listener.port)
        }
        #expect(shown("") == [53, 80, 8_080] && shown("JAVA") == [8_080])
        #expect(shown("nginx ignored") == [53] && shown("nothing") == [])
        #expect(shown("state=conflict") == [8_080] && shown("port=1-100") == [53, 80])
        // All are shown while it is wrong.
        #expect(shown("state=conf").count == 3)
        var state = TopState(filter: "state=conf")
        #expect(lines(moment(some), &state)[22].contains("(state=conf: expected active"))
        var none = TopState(filter: "zzz")
        #expect(lines(moment(some), &none)[5] == "None of 3 listeners has \"zzz\".")
        let flows = moment(some, [flow(1, 80), flow(2, 8_080)])
        func ids(_ text: String) -> [UInt64] {
            TopRows.flows(flows, TopState(filter: text)).map(\.id)
        }
        #expect(ids(":8080") == [2] && ids("state=active") == [1] && ids("40000").count == 2)
    }

    private func press(_ state: inout TopState, _ keys: String) -> TopState.Wish? {
        var wish: TopState.Wish?
        for key in keys {
            switch key {
            case "\n": wish = state.press(.enter, selected: ListenerKey(port(80)))
            case "\u{1b}": wish = state.press(.escape, selected: nil)
            case "\u{7f}": wish = state.press(.backspace, selected: nil)
            default: wish = state.press(.character(key), selected: nil)
            }
        }
        return wish
    }

    @Test func `what is typed goes into the filter, and Escape takes it back`() {
        var state = TopState()
        #expect(press(&state, "/qsf") == nil && state.filter == "qsf" && state.isTyping)
        #expect(press(&state, "\u{7f}\n") == nil && state.filter == "qs" && !state.isTyping)
        _ = press(&state, "/x\u{1b}")
        #expect(state.filter == "qs" && !state.isTyping)
        _ = press(&state, "\u{1b}")
        #expect(state.filter == "")
        _ = press(&state, "/" + String(repeating: "x", count: 500))
        #expect(state.filter.count == 200)
        _ = state.press(.clear, selected: nil)
        #expect(state.filter == "" && state.isTyping && press(&state, "\u{7f}") == nil)
        #expect(!state.isTyping && press(&state, "q") == .quit)
    }

    @Test func `q leaves help and explanations, then the program`() {
        var state = TopState()
        for keys in ["?", "h", "\n", "e"] {
            if keys == "e" {
                _ = state.press(.character("e"), selected: ListenerKey(port(80)))
            } else {
                _ = press(&state, keys)
            }
            #expect(state.view != .ports, "\(keys)")
            #expect(press(&state, "q") == nil && state.view == .ports, "\(keys)")
        }
        _ = press(&state, "f?\n")
        #expect(state.view == .flows)
        _ = press(&state, "\n")
        #expect(state.view == .flows && press(&state, "q") == .quit)
        #expect(state.press(.redraw, selected: nil) == .redraw)
    }

    @Test func `the cursor stays on a row, and rows scroll with it`() {
        let many = moment((1...100).map { port(UInt16($0)) })
        var state = TopState(order: .port)
        _ = state.press(.up, selected: nil)
        #expect(lines(many, &state)[5].contains(":1 "))
        _ = state.press(.end, selected: nil)
        let last = lines(many, &state)
        #expect(last[20].contains(":100 ") && last[21].contains("127.0.0.1:100"))
        #expect(state.cursor == 99 && state.offset == 84)
        _ = lines(moment([port(1)]), &state)
        #expect(state.cursor == 0 && state.offset == 0)
        _ = state.press(.pageDown, selected: nil)
        _ = lines(many, &state)
        #expect(state.cursor == 10 && state.offset == 0)
    }

    @Test func `a helper that is gone is told, above what was so before`() {
        var now = moment(some)
        now.take(.trouble("no helper runs at /x"), at: 2_000_000_000)
        var state = TopState()
        let shown = lines(now, &state)
        #expect(shown[1] == "no helper runs at /x" && shown[5].contains("127.0.0.1"))
        #expect(TopText.plain(now, state, columns: 80) == ["no helper runs at /x"])
        now.take(.report(status, some, []), at: 3_000_000_000)
        #expect(lines(now, &state)[0].contains("host networking on"))
    }

    @Test func `without a screen it is a table, whole`() {
        let plain = TopText.plain(moment(some), TopState(order: .port), columns: nil)
        #expect(plain.count == 7 && plain[3].hasPrefix("ON") && plain[3].hasSuffix("WHY"))
        #expect(plain[6].hasSuffix("9/apache holds 127.0.0.1:8080"))
        #expect(!plain.joined().contains("\u{1b}") && !plain[4].hasSuffix(" "))
    }
}
