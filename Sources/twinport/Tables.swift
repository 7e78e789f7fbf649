internal import Control

/// Columns that line up. The last column is not padded.
struct TextTable {
    private var rows: [[String]]
    private let rightAligned: Set<Int>

    init(header: [String], rightAligned: Set<Int>) {
        rows = [header]
        self.rightAligned = rightAligned
    }

    mutating func add(_ row: [String]) {
        rows.append(row)
    }

    /// The lines; `decorate` may colour a finished cell, given its row (0 is the header) and column.
    func lines(decorate: (String, Int, Int) -> String = { cell, _, _ in cell }) -> String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.enumerated().map { index, row in
            row.enumerated().map { column, cell in
                let gap = String(repeating: " ", count: widths[column] - cell.count)
                let isLast = column == row.count - 1
                let padded = rightAligned.contains(column) ? gap + cell : cell + (isLast ? "" : gap)
                return decorate(padded, index, column)
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

/// `twinport ports` for people.
enum PortsTable {
    private static let stateColumn = 4

    static func text(_ ports: [PortReport]) -> String {
        let sorted = ports.sorted {
            ($0.direction, $0.protocol, $0.port, $0.listener)
                < ($1.direction, $1.protocol, $1.port, $1.listener)
        }
        var table = TextTable(
            header: [
                "DIRECTION", "PROTO", "LISTENER", "MIRROR", "STATE", "FLOWS", "IN", "OUT", "OWNER",
                "CONTAINER", "REASON",
            ], rightAligned: [5, 6, 7])
        for port in sorted {
            table.add([
                port.direction, port.protocol, port.listener, port.mirror ?? "-", port.state,
                "\(port.flows)", Quantity.bytes(port.bytesIn), Quantity.bytes(port.bytesOut),
                port.owner ?? "-", port.container?.label ?? "-", port.reason ?? "",
            ])
        }
        return table.lines { cell, row, column in
            row > 0 && column == stateColumn
                ? Terminal.coloured(cell, state: sorted[row - 1].state) : cell
        }
    }
}

/// `twinport flows` for people.
enum FlowsTable {
    static func text(_ flows: [FlowReport]) -> String {
        var table = TextTable(
            header: [
                "FLOW", "DIRECTION", "PROTO", "CLIENT", "MIRROR", "LISTENER", "STATE", "IN", "OUT",
                "AGE", "IDLE",
            ], rightAligned: [0, 7, 8, 9, 10])
        for flow in flows.sorted(by: { $0.id < $1.id }) {
            table.add([
                "\(flow.id)", flow.direction, flow.protocol, flow.client, flow.mirror,
                flow.listener, flow.state, Quantity.bytes(flow.bytesIn),
                Quantity.bytes(flow.bytesOut), Quantity.time(flow.ageSeconds),
                Quantity.time(flow.idleSeconds),
            ])
        }
        return table.lines()
    }
}

/// `twinport status` for people.
enum StatusText {
    static func lines(_ status: StatusReport) -> [String] {
        var lines = [
            "Host networking: \(status.enabled ? "on" : "off")",
            "Tunnel:          \(Terminal.coloured(status.session, state: status.session))"
                + " (\(status.tunnel))" + (status.sessionError.map { ": \($0)" } ?? ""),
        ]
        if let guest = status.guest {
            lines.append(
                "Guest:           \(guest.hostname), \(guest.os) \(guest.kernel), agent \(guest.agentVersion)"
            )
        }
        let states = status.states.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        lines.append("Listeners:       \(states.isEmpty ? "none" : states.joined(separator: ", "))")
        lines.append("Flows:           \(status.flows)")
        lines.append("Settings:        \(status.settingsPath)")
        if let error = status.settingsError {
            lines.append("                 not in force: \(error)")
        }
        lines.append(
            "Helper:          \(status.version), pid \(status.pid), up "
                + "\(Quantity.time(status.uptimeSeconds)), \(Quantity.bytes(UInt64(max(0, status.rssBytes))))"
        )
        return lines
    }
}

/// Numbers for people.
enum Quantity {
    static func bytes(_ count: UInt64) -> String {
        if count < 1_024 { return "\(count)B" }
        var value = Double(count) / 1_024
        for unit in ["K", "M", "G"] {
            if value < 1_024 { return "\(rounded(value))\(unit)" }
            value /= 1_024
        }
        return "\(rounded(value))T"
    }

    private static func rounded(_ value: Double) -> String {
        let tenths = Int(value * 10)
        return tenths >= 100 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }

    static func time(_ seconds: Int) -> String {
        switch seconds {
        case ..<60: "\(seconds)s"
        case ..<3_600: "\(seconds / 60)m\(seconds % 60)s"
        default: "\(seconds / 3_600)h\(seconds / 60 % 60)m"
        }
    }
}
