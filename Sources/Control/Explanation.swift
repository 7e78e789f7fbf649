// `twinport explain`: one paragraph about a port, from the reports. Pure.

/// Says what listens on a port, how its mirror fares, why, and what to do.
public enum Explanation {
    /// The paragraph.
    ///
    /// - Parameter protocol: `tcp`, `udp`, or nil for both.
    public static func text(
        port: UInt16, protocol: String?, ports: [PortReport], status: StatusReport
    ) -> String {
        let rows = ports.filter { row in
            row.port == port && (row.protocol == (`protocol` ?? row.protocol))
                && ["tcp", "udp", "udplite", "sctp"].contains(row.protocol)
        }
        var sentences = rows.isEmpty ? [nothing(port, `protocol`, status)] : rows.map(describe)
        if let general = general(status) { sentences.append(general) }
        return sentences.joined(separator: " ")
    }

    private static func nothing(_ port: UInt16, _ name: String?, _ status: StatusReport) -> String {
        let what = name.map { "\(port)/\($0)" } ?? "\(port)"
        return
            "Nothing that Twinport knows of listens on port \(what), in the guest or on the host."
            + (status.session == "up"
                ? " If a program should, see with \"ss -ltnu\" on its machine whether it does."
                : "")
    }

    private static func general(_ status: StatusReport) -> String? {
        if let error = status.settingsError {
            return
                "The settings file has an error, and the last good settings are in force: \(error)."
        }
        if !status.enabled {
            return
                "Host networking is off: \"twinport enable\" switches it on, or says why it cannot."
        }
        if status.session != "up" {
            return "The tunnel to the guest is down"
                + (status.sessionError.map { " (\($0))" } ?? "")
                + ": is twinport-agent running in the guest?"
        }
        return nil
    }

    private static func describe(_ row: PortReport) -> String {
        let isGuest = row.direction == "guest-to-host"
        let here = isGuest ? "the guest" : "the host"
        let there = isGuest ? "the host" : "the guest"
        let container = row.container.map { ", container \($0.label)" } ?? ""
        let who = row.owner.map { " (\($0)\(container))" } ?? ""
        let subject = "A \(row.protocol.uppercased()) listener on \(row.listener) in \(here)\(who)"
            .replacing("in the host", with: "on the host")
        return subject + " " + verdict(row, there: there)
    }

    private static func verdict(_ row: PortReport, there: String) -> String {
        let why = row.reason ?? ""
        switch row.state {
        case "active":
            let flows = row.flows == 1 ? "1 flow is" : "\(row.flows) flows are"
            return "is mirrored at \(row.mirror ?? "?") of \(there); \(flows) open."
        case "pending":
            return "is not mirrored yet" + (why.isEmpty ? "." : ": \(why).")
        case "conflict":
            return
                "is not mirrored: \(why.isEmpty ? "its port is in use on \(there)" : "\(why) on \(there)"). "
                + "Stop that program or let one of the two use another port; the mirror then appears "
                + "within two seconds."
        case "denied":
            return "is not mirrored: \(there) does not permit it. \(capitalised(why))."
        case "unavailable":
            return
                "is not mirrored: \(why.isEmpty ? "its address does not exist" : why) (\(there))."
        case "covered":
            return "is served by the mirror of the wildcard listener on the same port \(why)."
        case "ignored":
            return why.hasPrefix("guestToHost.scope")
                ? "is left out by \(why)."
                : "is left out by the rule \(why), one of the settings' or a built-in one."
        case "unsupported": return unsupported(why, there)
        case "limit":
            return "is not mirrored because a limit is reached: \(why)."
        case "disabled":
            return "is not mirrored: \(why.isEmpty ? "switched off in the settings" : why)."
        default: return "is \(row.state)."
        }
    }

    private static func unsupported(_ why: String, _ there: String) -> String {
        switch why {
        case "interface-address":
            return "is bound to an address of one interface, which \(there) does not have; "
                + "let it listen on 0.0.0.0, [::] or a loopback address."
        case "port-zero": return "has no port."
        case "multicast-address":
            return "is bound to a multicast address; layer 4 forwarding carries no multicast."
        default: return "uses \(why), which layer 4 forwarding does not carry."
        }
    }

    private static func capitalised(_ text: String) -> String {
        guard let first = text.first else { return "" }
        return first.uppercased() + text.dropFirst()
    }
}
