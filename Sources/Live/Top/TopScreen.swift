internal import Reports
internal import TwinportModel

/// The screen of `top`. Pure: what is known and chosen in, lines out.
///
///     4 lines   helper, tunnel, listeners, bytes
///     1 line    the table's titles
///     …         its rows, or a text
///     2 lines   all of the row under the cursor, or what is typed
///     1 line    the keys
enum TopScreen {
    /// Lines that are not rows.
    static let frame = 8
    /// With fewer columns or rows than these nothing is legible.
    static let least = (columns: 20, rows: 10)

    /// The listener under the cursor.
    static func selected(_ moment: Moment, _ state: TopState) -> PortSnapshot? {
        let ports = TopRows.ports(moment, state)
        return ports.indices.contains(state.cursor) ? ports[state.cursor] : nil
    }

    /// All lines; the state's cursor is brought to where there are rows.
    ///
    /// - Parameter explain: `explain`'s text of a listener.
    static func lines(
        _ moment: Moment, _ state: inout TopState, columns: Int, rows: Int,
        explain: (PortSnapshot) -> String
    ) -> [ScreenLine] {
        guard columns >= least.columns, rows >= least.rows else {
            return [ScreenLine("too small"), ScreenLine("q quits")]
        }
        let room = rows - frame
        var body: [ScreenLine]
        switch state.view {
        case .ports:
            let found = TopRows.ports(moment, state)
            body = list(found, &state, columns, room) { TopRows.table($0, moment) }
            if found.isEmpty { body.append(ScreenLine(nothing(moment, state), .faint)) }
        case .flows:
            let found = TopRows.flows(moment, state)
            body = list(found, &state, columns, room) { TopRows.table($0, moment) }
            if found.isEmpty { body.append(ScreenLine("No flows.", .faint)) }
        case .help: body = text(help, &state, columns, room)
        case .explanation(let key):
            let port = moment.ports.first { ListenerKey($0) == key }
            body = text(port.map(explain) ?? "The listener is gone.", &state, columns, room)
        }
        body += Array(repeating: ScreenLine(), count: max(0, room + 1 - body.count))
        return header(moment, state, columns) + body
            + detail(moment, state, columns) + [keys(state, columns)]
    }

    private static func list<Row>(
        _ found: [Row], _ state: inout TopState, _ columns: Int, _ room: Int,
        _ table: ([Row]) -> ScreenTable
    ) -> [ScreenLine] {
        state.settle(rows: found.count, room: room)
        var (titles, rows) = table(Array(found.dropFirst(state.offset).prefix(room)))
            .lines(columns)
        let at = state.cursor - state.offset
        if rows.indices.contains(at) { rows[at].isReversed = true }
        titles = ScreenLine(titles.text, .strong)
        return [titles] + rows
    }

    private static func text(
        _ text: String, _ state: inout TopState, _ columns: Int, _ room: Int
    ) -> [ScreenLine] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { ScreenText.clean(String($0)) }.joined(separator: "\n")
        let wrapped = ScreenText.wrapped(lines, columns)
        state.settle(rows: wrapped.count, room: room)
        return [ScreenLine()]
            + wrapped.dropFirst(state.offset).prefix(room).map { ScreenLine($0) }
    }

    private static func nothing(_ moment: Moment, _ state: TopState) -> String {
        if moment.ports.isEmpty { return "No listeners." }
        return "None of \(moment.ports.count) listeners has \"\(ScreenText.clean(state.filter))\"."
    }

    // MARK: Header

    private static func header(
        _ moment: Moment, _ state: TopState, _ columns: Int
    ) -> [ScreenLine] {
        let status = moment.status
        if let trouble = moment.trouble {
            return [
                ScreenLine.spread("twinport top", pace(state), columns, .strong),
                ScreenLine(ScreenText.clean(trouble), .bad),
                ScreenLine("What is below was so before.", .faint), ScreenLine(),
            ]
        }
        let on = status.enabled ? "on" : "off: \"twinport enable\" switches it on"
        let (rate, carried) = (moment.portRates.total, moment.carried)
        return [
            ScreenLine.spread(
                "twinport \(status.version), host networking \(on)", pace(state), columns, .strong),
            tunnel(status),
            ScreenLine(ScreenText.clean(TopText.sums(status))),
            ScreenLine(TopText.speeds(rate, carried)),
        ]
    }

    private static func pace(_ state: TopState) -> String {
        state.isPaused ? "paused" : "sort: \(sort(state))"
    }

    private static func sort(_ state: TopState) -> String {
        let name = state.view == .flows ? state.order.nameForFlows : state.order.rawValue
        return name + (state.isReversed ? ", reversed" : "")
    }

    private static func tunnel(_ status: StatusReport) -> ScreenLine {
        let isUp = status.session == .up
        return ScreenLine([
            ("Tunnel ", .plain), (status.session.rawValue, isUp ? .good : .bad),
            (ScreenText.clean(TopText.tunnel(status)), .plain),
        ])
    }

    // MARK: Footer

    private static func detail(
        _ moment: Moment, _ state: TopState, _ columns: Int
    ) -> [ScreenLine] {
        var lines: [ScreenLine] = []
        if state.isTyping || !state.filter.isEmpty {
            let problem = RowFilter(state.filter).problem.map { "  (\($0))" } ?? ""
            let end = state.isTyping ? "_" : "  (Esc: all)"
            let text = "/" + ScreenText.clean(state.filter + end + problem)
            lines = [ScreenLine(text, .undecided)]
        }
        if state.view == .ports, let port = selected(moment, state) {
            let text = ScreenText.clean(TopText.detail(port))
            lines += ScreenText.wrapped(text, columns).map { ScreenLine($0, .faint) }
        }
        lines = Array((lines + [ScreenLine(), ScreenLine()]).prefix(2))
        // What is typed stands in the second one, above the keys.
        return state.isTyping || !state.filter.isEmpty ? lines.reversed() : lines
    }

    private static func keys(_ state: TopState, _ columns: Int) -> ScreenLine {
        let all: [String]
        switch state.view {
        case _ where state.isTyping: all = ["Enter keep", "Esc as before", "Ctrl-U none"]
        case .help, .explanation: all = ["q back", "↑↓ scroll"]
        case .ports:
            all = [
                "q quit", "? help", "/ filter", "s sort", "f flows", "Enter explain", "r reverse",
                "Space pause",
            ]
        case .flows:
            all = ["q quit", "? help", "/ filter", "s sort", "f ports", "r reverse", "Space pause"]
        }
        var line = ""
        for key in all {
            let next = line.isEmpty ? key : "\(line)  \(key)"
            if ScreenText.width(next) > columns { break }
            line = next
        }
        return ScreenLine(line, .faint)
    }

    private static let help = """
        twinport top shows each listener of guest and host, its mirror, and how fast bytes move: IN towards the \
        listener, OUT from it.

        ↑ ↓ j k, PgUp PgDn, Home End g G   move
        Enter e     explain the listener under the cursor
        f Tab       flows, and back; p: listeners
        s           sort by rate, port, state, traffic, container; flows by rate, port, idle, traffic, age
        r           reverse the order
        /           filter: words that a row must have, or conditions as state=conflict,port=8000-8100
        Esc         no filter
        Space       pause, and go on
        Ctrl-L      draw all anew
        ? h         this help
        q Ctrl-C    quit
        """
}
