internal import TwinportModel

/// What `explain` says of forwards.
enum ForwardExplanation {
    /// Those with an end at a path.
    static func rows(_ path: String, _ ports: [PortSnapshot]) -> [PortSnapshot] {
        let text = ForwardPlace.unix(path).text
        return ports.filter { $0.forward?.service == text || $0.forward?.socket == text }
    }

    /// Whether a port is that of the socket where programs connect, or would.
    static func isAbout(_ row: PortSnapshot, _ port: Port) -> Bool {
        row.forward.flatMap { Endpoint($0.socket) }?.port == port
    }

    static func nothing(_ path: String) -> String {
        "No forward has an end at \(path). Twinport carries Unix sockets that the settings of the host name, as\n"
            + "  forwards:\n"
            + "    - { guest: unix://\(path), host: unix:///run/user/1000/twinport/name.sock, listen: host }"
    }

    static func block(_ row: PortSnapshot, _ outlook: Outlook) -> ExplanationBlock {
        guard let forward = row.forward else { return ExplanationBlock("") }
        let (service, socket) = ends(row)
        let whose = row.guest.isEmpty ? "" : " of guest \(row.guest)"
        let name = forward.text.prefix(1).uppercased() + forward.text.dropFirst() + whose
        var block = verdict(row, service, socket)
        block.verdict = "\(name) joins \(socket) with the service at \(service): \(block.verdict)"
        return block
    }

    /// Both ends with their machines.
    private static func ends(_ row: PortSnapshot) -> (service: String, socket: String) {
        func end(_ text: String, _ role: Role) -> String {
            let place = role == .guest ? "in the guest" : "on the host"
            return text.hasPrefix("(") ? "an end \(place)" : "\(text) \(place)"
        }
        let role = row.direction.listenerRole
        return (end(row.forward?.service ?? "", role), end(row.forward?.socket ?? "", role.peer))
    }

    private static func verdict(
        _ row: PortSnapshot, _ service: String, _ socket: String
    ) -> ExplanationBlock {
        let why = row.reason == .none ? "" : "\(row.reason.text)."
        let flows = row.flows == 1 ? "1 flow is" : "\(row.flows) flows are"
        switch row.state {
        case .active: return ExplanationBlock("it works; \(flows) open.", why: why)
        case .pending: return ExplanationBlock("not yet.", why: why)
        case .unavailable:
            return ExplanationBlock(
                "it waits, and nothing is at \(socket) meanwhile.",
                why: why.isEmpty ? "the service is not there." : why,
                fix:
                    "start the service, or mend its place in the settings; the socket appears within a "
                    + "second.")
        case .conflict:
            return ExplanationBlock(
                "the socket cannot be made.", why: why,
                fix:
                    "free the place (end what listens there, delete a file that lies there), or name "
                    + "another one in the settings; it is tried again every two seconds.")
        case .denied:
            return ExplanationBlock(
                "it is not permitted.", why: why,
                fix:
                    "what is missing stands there: a folder that only its users can change, a right "
                    + "(ports below 1024, another user's uid), or the agent's --forwards; see "
                    + "twinport-settings(5), FORWARDS.")
        case .disabled: return ExplanationBlock("it is switched off.", why: why)
        default: return ExplanationBlock("it does not work.", why: why)
        }
    }
}
