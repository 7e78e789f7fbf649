package import TwinportModel

extension StatusReport {
    /// Takes over what is said of the only guest, or of the one that is asked about.
    package mutating func take(_ row: GuestReport) {
        session = row.session
        sessionError = row.sessionError
        tunnel = row.tunnel
        tunnelWarning = row.tunnelWarning
        guest = row.guest
        hints.guest = row.hints
        publishedError = row.publishedError
        clients = row.clients
        sessionSeconds = row.sessionSeconds
        states = row.states
        flows = row.flows
        counters = row.counters
    }

    /// Takes over what is said of several guests, and their sums.
    package mutating func takeAll(_ rows: [GuestReport]) {
        guests = rows
        let missing = rows.filter { $0.session == .down }
        session = missing.isEmpty ? .up : .down
        sessionError =
            missing.isEmpty
            ? nil
            : missing.map { "\($0.name): \($0.sessionError ?? "down")" }.joined(separator: "; ")
        for row in rows {
            states.merge(row.states) { $0 + $1 }
            counters.merge(row.counters) { $0 &+ $1 }
            flows += row.flows
        }
    }

    /// The report as if one of the guests were the only one; nil where there is none with this name.
    package func narrowed(to name: String) -> StatusReport? {
        guard let row = guests.first(where: { $0.name == name }) else { return nil }
        var report = self
        report.guests = [row]
        report.enabled = enabled && row.enabled
        report.take(row)
        return report
    }

    /// What is wrong with `--guest NAME`, when there is no such guest.
    package func problem(withGuest name: String) -> String {
        guests.isEmpty
            ? "there is one guest only, without a name: its settings have no \"guests\""
            : "there is no guest \"\(name)\": expected one of "
                + guests.map(\.name).joined(separator: ", ")
    }
}

extension KeyedDecodingContainer {
    /// An older helper has no such list.
    func decode(_ type: [GuestReport].Type, forKey key: Key) throws -> [GuestReport] {
        try decodeIfPresent(type, forKey: key) ?? []
    }
}

extension PortSnapshot {
    /// The same, as one guest's of several.
    package func of(_ guest: String) -> PortSnapshot {
        var row = self
        row.guest = guest
        return row
    }
}

extension FlowSnapshot {
    /// The same, as one guest's of several.
    package func of(_ guest: String) -> FlowSnapshot {
        var row = self
        row.guest = guest
        return row
    }
}
