package import TwinportModel

/// `ports` for people.
package enum PortsTable {
    private static let stateColumn = 4
    /// The reason goes below its row; then bytes, flows and container go. A listener keeps its port.
    private static let fit = TableFit(
        least: [0: 7, 2: 15, 3: 15, 8: 14, 9: 10], below: [10],
        told: [2: "listener", 3: "mirror", 8: "owner", 9: "container"], cutInTheMiddle: [2],
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
        var table = TextTable(
            header: [
                "DIRECTION", "PROTO", "LISTENER", "MIRROR", "STATE", "FLOWS", "IN", "OUT", "OWNER",
                "CONTAINER", "REASON",
            ], rightAligned: [5, 6, 7])
        for port in sorted {
            table.add([
                port.direction.rawValue, port.kind.name, port.listener.description,
                Self.orDash(port.mirrors.map(\.description).joined(separator: ",")),
                port.state.name,
                "\(port.flows)", Quantity.bytes(port.bytesIn), Quantity.bytes(port.bytesOut),
                Self.orDash(port.owner), port.container?.label ?? "-", Self.why(port),
            ])
        }
        return table.lines(fit.within(width)) { cell, row, column in
            isColoured && row > 0 && column == stateColumn
                ? Colour(sorted[row - 1].state).applied(to: cell) : cell
        }
    }

    /// The reason, the rule that decided, unless the reason is that rule, and the guest's that publishes the port.
    private static func why(_ port: PortSnapshot) -> String {
        let rule = port.state == .ignored ? nil : port.rule?.text
        let published = port.published.isEmpty ? nil : "published by \(port.published)"
        return [port.reason.text, rule, published].compactMap { $0 }.filter { !$0.isEmpty }
            .joined(separator: "; ")
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
        var table = TextTable(
            header: [
                "FLOW", "DIRECTION", "PROTO", "CLIENT", "MIRROR", "LISTENER", "STATE", "IN", "OUT",
                "AGE", "IDLE",
            ], rightAligned: [0, 7, 8, 9, 10])
        for flow in flows.sorted(by: { $0.id < $1.id }) {
            table.add([
                "\(flow.id)", flow.direction.rawValue, flow.transport.name,
                flow.client.description, flow.mirror.description, flow.listener.description,
                flow.state.rawValue, Quantity.bytes(flow.bytesIn),
                Quantity.bytes(flow.bytesOut), Quantity.time(flow.ageSeconds),
                Quantity.time(flow.idleSeconds),
            ])
        }
        return table.lines(fit.within(width))
    }
}
