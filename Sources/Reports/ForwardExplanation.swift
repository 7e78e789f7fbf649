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
            // What the other machine keeps to itself has the forward's number for a name.
            guard text.hasPrefix("(") else { return "\(text) \(place)" }
            return "its end \(place), which \"twinport ports\" names there"
        }
        let role = row.direction.listenerRole
        return (end(row.forward?.service ?? "", role), end(row.forward?.socket ?? "", role.peer))
    }

    private static func verdict(
        _ row: PortSnapshot, _ service: String, _ socket: String
    ) -> ExplanationBlock {
        let why = row.reason == .none ? "" : "\(row.reason.text)."
        return ExplanationBlock(
            sentence(row, socket),
            why: why.isEmpty && row.state == .unavailable ? "the service is not there." : why,
            fix: ForwardAdvice(row).fix ?? "")
    }

    private static func sentence(_ row: PortSnapshot, _ socket: String) -> String {
        let flows = row.flows == 1 ? "1 flow is" : "\(row.flows) flows are"
        return switch row.state {
        case .active where row.reason != .none: "the socket is there; \(flows) open."
        case .active: "it works; \(flows) open."
        case .pending: "not yet."
        case .unavailable: "it waits, and nothing is at \(socket) meanwhile."
        case .conflict: "the socket cannot be made."
        case .denied: "it is not permitted."
        case .disabled: "it is switched off."
        default: "it does not work."
        }
    }
}
