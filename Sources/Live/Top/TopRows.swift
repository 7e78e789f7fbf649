internal import Reports
internal import TwinportModel

/// The rows of `top` as tables.
enum TopRows {
    /// Listeners that are shown, in their order.
    static func ports(_ moment: Moment, _ state: TopState) -> [PortSnapshot] {
        let filter = RowFilter(state.filter)
        let found = moment.ports.filter { filter.matches($0) }
        let sorted = state.order.sorted(found, moment.portRates)
        return state.isReversed ? sorted.reversed() : sorted
    }

    /// Flows that are shown, in their order.
    static func flows(_ moment: Moment, _ state: TopState) -> [FlowSnapshot] {
        let filter = RowFilter(state.filter)
        let listeners = Set(moment.ports.filter { filter.matches($0) }.map(\.listener))
        let found = moment.flows.filter { filter.matches($0, listeners) }
        let sorted = state.order.sorted(found, moment.flowRates)
        return state.isReversed ? sorted.reversed() : sorted
    }

    /// Of 80 columns all are used: without a container, CONTAINER, FLOWS and WHY give way, and the row under the cursor
    /// has the last two below the table.
    private static let portColumns = [
        ScreenColumn(title: "ON", least: 5, most: 16, rank: 6),
        ScreenColumn(title: "PROTO", least: 5, most: 9, rank: 7),
        ScreenColumn(
            title: "LISTENER", least: 14, most: 47, rank: nil, isCutInTheMiddle: true),
        ScreenColumn(title: "MIRROR", least: 14, most: 47, rank: 10, isCutInTheMiddle: true),
        ScreenColumn(title: "STATE", least: 8, most: 11, rank: nil),
        ScreenColumn(title: "FLOWS", least: 5, most: 7, rank: 3, isRight: true),
        ScreenColumn(title: "IN/s", least: 5, most: 5, rank: 9, isRight: true),
        ScreenColumn(title: "OUT/s", least: 5, most: 5, rank: 8, isRight: true),
        ScreenColumn(title: "IN", least: 5, most: 5, rank: 1, isRight: true),
        ScreenColumn(title: "OUT", least: 5, most: 5, rank: 0, isRight: true),
        ScreenColumn(title: "PROCESS", least: 10, most: 28, rank: 5),
        ScreenColumn(title: "CONTAINER", least: 9, most: 24, rank: 2),
        ScreenColumn(title: "WHY", least: 12, most: 60, rank: 4),
    ]

    /// Where a listener is. Of several guests by name; the host's are listed for each of them.
    static func machine(_ port: PortSnapshot) -> String {
        if port.direction == .hostToGuest {
            return port.guest.isEmpty ? "host" : "host→\(port.guest)"
        }
        return port.guest.isEmpty ? "guest" : port.guest
    }

    /// The table of listeners.
    static func table(_ ports: [PortSnapshot], _ moment: Moment) -> ScreenTable {
        ScreenTable(
            columns: portColumns,
            rows: ports.map { port in
                let rate = moment.portRates[ListenerKey(port)]
                return [
                    ScreenCell(machine(port)),
                    ScreenCell(port.kind.name), ScreenCell(port.listenerText),
                    ScreenCell(port.mirrorText),
                    ScreenCell(port.state.name, style(of: port.state)),
                    ScreenCell("\(port.flows)"), speed(rate.bytesIn), speed(rate.bytesOut),
                    ScreenCell(Quantity.bytes(port.bytesIn)),
                    ScreenCell(Quantity.bytes(port.bytesOut)), ScreenCell(port.owner),
                    ScreenCell(port.container?.label ?? ""), ScreenCell(PortsTable.why(port)),
                ]
            })
    }

    private static let flowColumns = [
        ScreenColumn(title: "FLOW", least: 4, most: 9, rank: 2, isRight: true),
        ScreenColumn(title: "PROTO", least: 5, most: 5, rank: 6),
        ScreenColumn(title: "CLIENT", least: 15, most: 47, rank: nil, isCutInTheMiddle: true),
        ScreenColumn(title: "MIRROR", least: 15, most: 47, rank: 3, isCutInTheMiddle: true),
        ScreenColumn(title: "LISTENER", least: 15, most: 47, rank: nil, isCutInTheMiddle: true),
        ScreenColumn(title: "STATE", least: 4, most: 11, rank: 7),
        ScreenColumn(title: "IN/s", least: 5, most: 5, rank: 9, isRight: true),
        ScreenColumn(title: "OUT/s", least: 5, most: 5, rank: 8, isRight: true),
        ScreenColumn(title: "IN", least: 5, most: 5, rank: 1, isRight: true),
        ScreenColumn(title: "OUT", least: 5, most: 5, rank: 0, isRight: true),
        ScreenColumn(title: "AGE", least: 6, most: 6, rank: 5, isRight: true),
        ScreenColumn(title: "IDLE", least: 6, most: 6, rank: 4, isRight: true),
    ]

    /// The table of flows.
    static func table(_ flows: [FlowSnapshot], _ moment: Moment) -> ScreenTable {
        ScreenTable(
            columns: flowColumns,
            rows: flows.map { flow in
                let rate = moment.flowRates[FlowKey(flow)]
                return [
                    ScreenCell("\(flow.id)"), ScreenCell(flow.protocolName),
                    ScreenCell(flow.clientText), ScreenCell(flow.mirrorText),
                    ScreenCell(flow.listenerText), ScreenCell(flow.state.rawValue),
                    speed(rate.bytesIn), speed(rate.bytesOut),
                    ScreenCell(Quantity.bytes(flow.bytesIn)),
                    ScreenCell(Quantity.bytes(flow.bytesOut)),
                    ScreenCell(Quantity.time(flow.ageSeconds)),
                    ScreenCell(Quantity.time(flow.idleSeconds)),
                ]
            })
    }

    private static func speed(_ rate: Double) -> ScreenCell {
        rate < 0.5 ? ScreenCell("0", .faint) : ScreenCell(amount(rate))
    }

    /// A number of bytes, whatever it is.
    static func amount(_ rate: Double) -> String {
        Quantity.bytes(UInt64(exactly: rate.rounded()) ?? UInt64.max)
    }

    private static func style(of state: MirrorState) -> ScreenStyle {
        switch state {
        case .active: .good
        case .conflict, .denied, .limit: .bad
        case .pending, .unavailable: .undecided
        case .covered, .ignored, .unsupported, .disabled: .faint
        }
    }
}
