internal import Reports
internal import TwinportModel

/// Lines that `top` has on a screen and without one.
enum TopText {
    /// What is behind the word for the tunnel's state.
    static func tunnel(_ status: StatusReport) -> String {
        let since = status.sessionSeconds.map { " \(Quantity.time($0))" } ?? ""
        let trouble = status.sessionError.map { ": \($0)" } ?? ""
        let up = status.guests.count { $0.session == .up }
        let several = status.guests.isEmpty ? "" : ", \(up) of \(status.guests.count) guests"
        let guest =
            status.guest.map {
                ", guest \($0.hostname), \($0.os) \($0.kernel), agent \($0.agentVersion)"
            } ?? ""
        return "\(since)\(several)\(trouble)\(guest) (\(status.tunnel))"
    }

    /// How many listeners are in which state, and how many flows there are.
    static func sums(_ status: StatusReport) -> String {
        let all = status.states.values.reduce(0, +)
        let counts = status.states.sorted { (-$0.value, $0.key) < (-$1.value, $1.key) }
            .map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        let listeners = "\(all) listener\(all == 1 ? "" : "s")" + (all == 0 ? "" : ": \(counts)")
        return "\(listeners); \(status.flows) flow\(status.flows == 1 ? "" : "s")"
    }

    /// How fast bytes move, and how many did.
    static func speeds(_ rate: ByteRate, _ carried: ByteCount) -> String {
        "In \(TopRows.amount(rate.bytesIn))/s, out \(TopRows.amount(rate.bytesOut))/s; so far in "
            + "\(Quantity.bytes(carried.bytesIn)), out \(Quantity.bytes(carried.bytesOut))"
    }

    /// What a row's columns may have no room for.
    static func detail(_ port: PortSnapshot) -> String {
        var parts = ["\(port.kind.name) \(port.listenerText)"]
        if !port.mirrorText.isEmpty { parts[0] += " → " + port.mirrorText }
        // First of all why: it is what the table has no room for, and the end may be cut.
        let why = PortsTable.why(port)
        if !why.isEmpty { parts.append(why) }
        if port.flows > 0 { parts.append("flows: \(port.flows)") }
        if !port.owner.isEmpty { parts.append(port.owner) }
        if let container = port.container { parts.append("container \(container.label)") }
        if let rule = port.rule { parts.append(rule.text) }
        return parts.joined(separator: "; ")
    }

    /// One sample for where there is no screen.
    ///
    /// - Parameter columns: Of the terminal; nil: nothing is cut.
    static func plain(_ moment: Moment, _ state: TopState, columns: Int?) -> [String] {
        if let trouble = moment.trouble { return [ScreenText.clean(trouble)] }
        let ports = TopRows.ports(moment, state)
        let status = moment.status
        let head = [
            "Tunnel \(status.session.rawValue)\(tunnel(status))", sums(status),
            speeds(moment.portRates.total, moment.carried),
        ].map(ScreenText.clean)
        guard !ports.isEmpty else { return head }
        let (titles, rows) = TopRows.table(ports, moment).lines(columns ?? 10_000)
        return head + ([titles] + rows).map(Self.withoutEnd)
    }

    private static func withoutEnd(_ line: ScreenLine) -> String {
        let text = line.text
        return String(
            text.prefix(
                upTo: text.lastIndex { $0 != " " }.map(text.index(after:)) ?? text.startIndex))
    }
}
