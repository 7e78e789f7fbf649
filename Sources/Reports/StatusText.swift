internal import TwinportModel

/// `status` for people.
package enum StatusText {
    /// The helper's.
    ///
    /// - Parameter isColoured: Whether a terminal shows it.
    package static func lines(_ status: StatusReport, isColoured: Bool = false) -> [String] {
        var lines = [line("Host networking", status.enabled ? "on" : "off")]
        if status.guests.count > 1 {
            lines += guests(status.guests, isColoured)
        } else {
            lines.append(
                tunnel(status.session, status.tunnel, status.sessionError, isColoured))
            if let warning = status.tunnelWarning { lines.append(line("", warning)) }
            if let guest = status.guest { lines.append(line("Guest", words(guest))) }
        }
        let guestHints = status.hints.guest.map { "; guest: \($0)" } ?? ""
        lines.append(line("Hints", "host: \(status.hints.host)\(guestHints)"))
        lines += owners(status.ownersError)
        if let why = status.publishedError {
            lines.append(line("Rules", "ports that only rules publish are not seen: \(why)"))
        }
        if let clients = status.clients {
            lines.append(line("Clients", "other machines' seen as \(clients.text)"))
        }
        lines += sums(status.states, status.flows)
        lines.append(line("Settings", status.settingsPath))
        if let error = status.settingsError {
            lines.append(line("", "\(SettingsFault.words(status.settingsErrorOf)): \(error)"))
        }
        lines.append(
            process(
                "Helper", status.version, status.pid, status.uptimeSeconds, status.rssBytes))
        return lines
    }

    private static func words(_ guest: GuestIdentity) -> String {
        "\(guest.hostname), \(guest.os) \(guest.kernel), agent \(guest.agentVersion)"
    }

    /// A block for each of several guests.
    private static func guests(_ rows: [GuestReport], _ isColoured: Bool) -> [String] {
        let up = rows.count { $0.session == .up }
        return [line("Guests", "\(up) of \(rows.count) connected")]
            + rows.flatMap { row in
                let word = row.session.rawValue
                let shown = isColoured ? Colour(row.session).applied(to: word) : word
                let address = row.address.map { " at \($0)" } ?? ""
                let error = row.enabled ? row.sessionError.map { ": \($0)" } ?? "" : ", off"
                var lines = [line("  \(row.name)", "\(shown) (\(row.tunnel))\(address)\(error)")]
                if let warning = row.tunnelWarning { lines.append(line("", warning)) }
                if let guest = row.guest {
                    let states = counts(row.states)
                    lines.append(line("", words(guest)))
                    lines.append(line("", "\(states); flows: \(row.flows)"))
                }
                return lines
            }
    }

    /// The agent's.
    package static func lines(_ status: AgentStatus) -> [String] {
        var lines = [tunnel(status.session, status.tunnel, status.sessionError, false)]
        if let warning = status.tunnelWarning { lines.append(line("", warning)) }
        if let host = status.host {
            lines.append(
                line("Host", "\(host.hostname), \(host.os) \(host.kernel), helper \(host.program)"))
        }
        let hostHints = status.hostHints.map { "; host: \($0)" } ?? ""
        lines.append(line("Hints", "guest: \(status.hints)\(hostHints)"))
        lines += owners(status.ownersError)
        if let why = status.publishedError {
            lines.append(line("Rules", "ports that only rules publish are not seen: \(why)"))
        } else if !status.published.isEmpty {
            lines.append(line("Rules", "published ports are read from \(status.published)"))
        }
        lines.append(line("Clients", "other machines' seen as \(status.clients.text)"))
        lines += sums(status.states, status.flows)
        lines.append(
            process("Agent", status.version, status.pid, status.uptimeSeconds, status.rssBytes))
        return lines
    }

    private static func line(_ label: String, _ text: String) -> String {
        let label = label.isEmpty ? "" : "\(label):"
        return label + String(repeating: " ", count: max(1, 17 - label.count)) + text
    }

    private static func tunnel(
        _ session: SessionState, _ place: String, _ error: String?, _ isColoured: Bool
    ) -> String {
        let word =
            isColoured ? Colour(session).applied(to: session.rawValue) : session.rawValue
        return line("Tunnel", "\(word) (\(place))" + (error.map { ": \($0)" } ?? ""))
    }

    private static func owners(_ error: String?) -> [String] {
        error.map { [line("Owners", "not known any more: \($0)")] } ?? []
    }

    private static func sums(_ states: [String: Int], _ flows: Int) -> [String] {
        [line("Listeners", counts(states)), line("Flows", "\(flows)")]
    }

    private static func counts(_ states: [String: Int]) -> String {
        let counts = states.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        return counts.isEmpty ? "none" : counts.joined(separator: ", ")
    }

    private static func process(
        _ label: String, _ version: String, _ pid: Int32, _ uptime: Int, _ bytes: Int
    ) -> String {
        line(
            label,
            "\(version), pid \(pid), up \(Quantity.time(uptime)), "
                + Quantity.bytes(UInt64(max(0, bytes))))
    }
}
