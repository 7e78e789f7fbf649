internal import TwinportModel

/// What `explain` says of a listener that the settings leave out: which list did it, where that stands, and what would
/// let the listener in.
enum LeftOut {
    /// A listener that is `ignored`.
    static func block(_ row: PortSnapshot, _ lines: SettingsLines) -> ExplanationBlock {
        let section = row.direction.settingsKey
        let rule = admitting(row)
        switch row.reason {
        case .foreignMirror, .ownPage: return twinports(row.reason)
        case .rule(let ports): return listed(ports, row, lines)
        case .ruleNumber(let number, let direction):
            let name = row.rule?.text ?? "rule \(number)"
            return ExplanationBlock(
                "is left out by \(name) of \(direction.rulesKey).",
                fix: "delete that rule, or put one that admits it in front of it: \(rule)")
        case .notNamed:
            return ExplanationBlock(
                "is left out by \(section).only\(lines.place(of: "\(section).only")), "
                    + "which does not name it.",
                fix: "add \(port(row)) to that list.")
        case .ownService:
            return ExplanationBlock(
                "is left out.",
                why: "22, 53, 123 and 631 of the guest itself are left out unless only: or a rule "
                    + "names them.",
                fix: "name it in guestToHost.only, as only: [\(port(row)), \"*/*\"], or in "
                    + "guestToHost.rules: \(rule)")
        case .notInContainer, .unknownOwner: return scoped(row, lines)
        case .untold:
            return .notMirrored(
                "the host does not say why: its settings keep what listens there from the guest.",
                fix: "\"twinport explain\" on the host says more.")
        default: return ExplanationBlock("is left out.", why: "\(row.reason.text).")
        }
    }

    /// One that is Twinport's own.
    private static func twinports(_ reason: Reason) -> ExplanationBlock {
        ExplanationBlock(
            "is left out.",
            why: reason == .ownPage
                ? "it is the page that \"twinport page\" serves, which is for this machine alone."
                : "it is a mirror of another Twinport, and mirrors are not mirrored onward.")
    }

    /// One that `scope` leaves out.
    private static func scoped(_ row: PortSnapshot, _ lines: SettingsLines) -> ExplanationBlock {
        let key = "guestToHost.scope"
        let verdict = "is left out by \(key)\(lines.place(of: key)): "
        if row.reason == .unknownOwner {
            return ExplanationBlock(
                verdict + "its process is not known.",
                fix: "run the agent as root, or set scope: all.")
        }
        return ExplanationBlock(
            verdict + "it is not in a container.",
            fix: "set scope: all, or add to guestToHost.rules: \(admitting(row))")
    }

    /// One whose port a list, or Twinport itself, leaves out.
    private static func listed(
        _ ports: PortRule, _ row: PortSnapshot, _ lines: SettingsLines
    ) -> ExplanationBlock {
        let list = "\(row.direction.settingsKey).ignore"
        let place = lines.place(of: ports, in: list)
        if place.isEmpty, [PortRule].linkLocal.contains(ports) {
            return ExplanationBlock(
                "is left out.",
                why:
                    "\(ports) is about the link and not about a machine (multicast discovery, address "
                    + "leases). Twinport never mirrors it, whatever the settings say.")
        }
        return ExplanationBlock(
            "is left out by \(list)\(place): \(ports).",
            fix: "take it out of that list, or add to \(row.direction.rulesKey): \(admitting(row))")
    }

    /// One that a setting switches off, as `guestToHost.enabled is false`.
    static func switchedOff(_ reason: Reason, _ lines: SettingsLines) -> ExplanationBlock {
        guard case .switchedOff(let words) = reason, let space = words.firstIndex(of: " ") else {
            return .notMirrored(
                reason == .none ? "switched off in the settings." : "\(reason.text).")
        }
        let key = String(words[..<space])
        return .notMirrored(
            "\(words)\(lines.place(of: key)).", fix: "set \(key) to true in the settings.")
    }

    /// What lets a mirror have its port.
    static func permitting(_ row: PortSnapshot) -> String {
        guard case .needsPrivilege(let port) = row.reason else {
            return
                "see the log of \(row.direction == .guestToHost ? "the helper" : "the agent") for what the "
                + "system said."
        }
        let permit =
            "\"sudo sysctl net.ipv4.ip_unprivileged_port_start=\(port)\" \(row.direction == .guestToHost ? "on the host" : "in the guest"), "
            + "or CAP_NET_BIND_SERVICE for \(row.direction == .guestToHost ? "the helper" : "the agent")"
        guard row.direction == .guestToHost, port <= Port.max - 8_000 else { return "\(permit)." }
        return "\(permit); or let the mirror be elsewhere: add to guestToHost.rules: "
            + "- { match: \(self.port(row)), host: \(8_000 + port) }"
    }

    private static func port(_ row: PortSnapshot) -> String {
        "\(row.kind.transport?.name ?? "tcp")/\(row.listener.port)"
    }

    /// A rule that lets it in.
    private static func admitting(_ row: PortSnapshot) -> String {
        "- { match: \(port(row)), ignore: false }"
    }
}
