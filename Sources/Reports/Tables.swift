package import TwinportModel

/// `ports` for people.
package enum PortsTable {
    private static let stateColumn = 4
    /// The reason goes below its row; then bytes, flows and container go. A listener keeps its port.
    private static let fit = TableFit(
        least: [0: 7, 2: 15, 3: 15, 8: 14, 9: 10], below: [10],
        told: [(2, "listener"), (3, "mirror"), (8, "owner"), (9, "container")], cutInTheMiddle: [2],
        dropped: [6, 7, 5, 9, 8, 0, 1, 3])

    /// The table, of one row for each port.
    ///
    /// - Parameters:
    ///   - order: Of the rows; nil: by direction, protocol and port.
    ///   - isColoured: Whether a terminal shows it.
    ///   - width: How many columns that terminal has; nil: nothing is cut.
    package static func text(
        _ ports: [PortSnapshot], order: PortOrder? = nil, isColoured: Bool = false,
        width: Int? = nil
    ) -> String {
        let sorted = order?.sorted(ports) ?? PortOrder.usual(ports)
        // The guests' names come first, where there are any.
        let guests = ports.contains { !$0.guest.isEmpty } ? 1 : 0
        var table = TextTable(
            header: ["GUEST"].prefix(guests) + [
                "DIRECTION", "PROTO", "LISTENER", "MIRROR", "STATE", "FLOWS", "IN", "OUT", "OWNER",
                "CONTAINER", "REASON",
            ], rightAligned: [5 + guests, 6 + guests, 7 + guests])
        for port in sorted {
            table.add([orDash(port.guest)].prefix(guests) + cells(port))
        }
        let fit = guests == 0 ? fit : fit.afterColumn
        return table.lines(fit.within(width)) { cell, row, column in
            isColoured && row > 0 && column == stateColumn + guests
                ? Colour(sorted[row - 1].state).applied(to: cell) : cell
        }
    }

    private static func cells(_ port: PortSnapshot) -> [String] {
        [
            port.direction.rawValue, port.kind.name, port.listenerText, orDash(port.mirrorText),
            port.state.name,
            "\(port.flows)", Quantity.bytes(port.bytesIn), Quantity.bytes(port.bytesOut),
            orDash(port.owner), port.container?.label ?? "-", why(port),
        ]
    }

    /// The reason, the rule that decided, unless the reason is that rule, and the guest's that publishes the port.
    package static func why(_ port: PortSnapshot) -> String {
        let rule = port.state == .ignored ? nil : port.rule?.text
        let published = port.published.isEmpty ? nil : "published by \(port.published)"
        return [port.reason.text, port.forward?.text ?? rule, published].compactMap { $0 }
            .filter { !$0.isEmpty }.joined(separator: "; ")
    }

    private static func orDash(_ text: String) -> String { text.isEmpty ? "-" : text }
}

/// `twinport flows` for people.
package enum FlowsTable {
    /// The addresses go below their row, whole.
    private static let fit = TableFit(
        least: [1: 7], below: [3, 4, 5], joint: " → ", dropped: [10, 9, 8, 7, 1, 6])

    /// The table, of one row for each flow.
    ///
    /// - Parameter width: How many columns the terminal has; nil: nothing is cut.
    package static func text(_ flows: [FlowSnapshot], width: Int? = nil) -> String {
        let guests = flows.contains { !$0.guest.isEmpty } ? 1 : 0
        var table = TextTable(
            header: ["GUEST"].prefix(guests) + [
                "FLOW", "DIRECTION", "PROTO", "CLIENT", "MIRROR", "LISTENER", "STATE", "IN", "OUT",
                "AGE", "IDLE",
            ], rightAligned: Set([0, 7, 8, 9, 10].map { $0 + guests }))
        for flow in flows.sorted(by: { ($0.guest, $0.id) < ($1.guest, $1.id) }) {
            table.add([flow.guest].prefix(guests) + cells(flow))
        }
        return table.lines((guests == 0 ? fit : fit.afterColumn).within(width))
    }

    private static func cells(_ flow: FlowSnapshot) -> [String] {
        [
            "\(flow.id)", flow.direction.rawValue, flow.protocolName,
            flow.clientText, flow.mirrorText, flow.listenerText,
            flow.state.rawValue, Quantity.bytes(flow.bytesIn), Quantity.bytes(flow.bytesOut),
            Quantity.time(flow.ageSeconds), Quantity.time(flow.idleSeconds),
        ]
    }
}
