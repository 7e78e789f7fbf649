internal import TwinportModel

extension Diagnosis {
    private static let needsHelper = "not known without a helper"

    static func helper(_ facts: DoctorFacts) -> Finding {
        if let status = facts.status {
            return Finding("helper", .ok, "running, pid \(status.pid), version \(status.version)")
        }
        return Finding(
            "helper", .problem, facts.helperError ?? "not running",
            fix: "start \"twinport host\", or its service")
    }

    static func settings(_ facts: DoctorFacts) -> Finding {
        switch facts.settings {
        case .missing:
            if let elsewhere = helperReadsAnother(facts) { return elsewhere }
            return Finding(
                "settings", .note, "\(facts.settingsPath) does not exist: the defaults hold",
                fix: "\"twinport enable\(facts.settingsHint)\" makes it")
        case .bad(let problem):
            return Finding("settings", .problem, problem, fix: "correct that place, and save")
        case .good:
            if let error = facts.status?.settingsError {
                let isTunnels = facts.status?.settingsErrorOf == SettingsFault.tunnel.rawValue
                return Finding(
                    "settings", .problem,
                    isTunnels
                        ? "a tunnel of the file cannot be opened; the rest is in force: \(error)"
                        : "the helper does not apply its file: \(error)",
                    fix: isTunnels
                        ? "correct that; save the file again if the tunnel is not there within ten seconds"
                        : "correct that, and save the file again")
            }
            return helperReadsAnother(facts)
                ?? Finding("settings", .ok, "\(facts.settingsPath) is valid")
        }
    }

    private static func helperReadsAnother(_ facts: DoctorFacts) -> Finding? {
        guard let status = facts.status, status.settingsPath != facts.settingsPath else {
            return nil
        }
        return Finding(
            "settings", .note,
            "the helper that runs reads \(status.settingsPath), not \(facts.settingsPath)",
            fix: "twinport doctor --settings \(status.settingsPath)")
    }

    static func toggle(_ facts: DoctorFacts) -> Finding {
        if facts.guest != "", facts.status?.guests.first?.enabled == false {
            return Finding(
                "host networking", .note, "off for guest \(facts.guest): its enabled is false",
                fix: "set it to true in the settings")
        }
        if facts.status?.enabled ?? facts.isEnabled {
            return Finding("host networking", .ok, "on")
        }
        return Finding(
            "host networking", .note, "off: nothing is mirrored",
            fix: "twinport enable\(facts.settingsHint)")
    }

    static func key(_ facts: DoctorFacts) -> Finding {
        guard let path = facts.keyPath else {
            let make =
                "\"twinport key new FILE\", tunnel.key: FILE in the settings, --key FILE for "
            guard let warning = facts.keylessWarning else {
                if case .good = facts.settings {
                    return Finding("key", .note, "none is set", fix: make + "the agent")
                }
                return Finding("key", .note, "not known without valid settings")
            }
            return Finding("key", .note, warning, fix: make + "the agent")
        }
        switch facts.key {
        case .good: return Finding("key", .ok, "\(path) is a key that only its owner can read")
        case .missing:
            return Finding(
                "key", .problem, "\(path) does not exist", fix: "twinport key new \(path)")
        case .bad(let problem):
            return Finding(
                "key", .problem, problem, fix: "correct that, and save the settings file again")
        }
    }

    static func tunnel(_ facts: DoctorFacts) -> Finding {
        let place = facts.status?.tunnel ?? facts.tunnel
        guard facts.status != nil else { return Finding("tunnel", .note, needsHelper) }
        switch facts.tunnelSocket {
        case .good: return Finding("tunnel", .ok, "\(place): its socket is there")
        case nil: return Finding("tunnel", .ok, place)
        case .missing:
            return Finding(
                "tunnel", .problem, "\(place): its socket is not there",
                fix: "see the helper's log for why; it tries again twice a second")
        case .bad(let problem):
            return Finding(
                "tunnel", .problem, "\(place): \(problem)", fix: "restart the helper")
        }
    }

    static func guest(_ facts: DoctorFacts) -> Finding {
        guard let status = facts.status else { return Finding("guest", .note, needsHelper) }
        guard let guest = status.guest else {
            return Finding(
                "guest", .problem, status.sessionError ?? "none is connected",
                fix: TunnelAdvice.isAboutKey(status.sessionError)
                    ? TunnelAdvice.sameKey
                    : "run twinport-agent in the guest, with the tunnel's address and key")
        }
        return Finding(
            "guest", .ok, "\(guest.hostname) is connected, \(guest.os) \(guest.kernel)")
    }

    static func versions(_ facts: DoctorFacts) -> Finding {
        guard let status = facts.status else {
            return Finding("versions", .note, "this program is \(facts.version)")
        }
        return versions(
            [
                ("this program", facts.version), ("helper", status.version),
            ] + agents(status))
    }

    private static func agents(_ status: StatusReport) -> [(String, String?)] {
        guard status.guests.count > 1 else { return [("agent", status.guest?.agentVersion)] }
        return status.guests.map { ("agent of \($0.name)", $0.guest?.agentVersion) }
    }

    /// Whether the programs are of one version, those that have one.
    static func versions(_ programs: [(String, String?)]) -> Finding {
        let all = programs.compactMap { name, version in version.map { (name, $0) } }
        let text = all.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        if Set(all.map(\.1)).count == 1 { return Finding("versions", .ok, text) }
        return Finding(
            "versions", .note, text, fix: "install the newest everywhere, and restart what runs")
    }

    static func hints(_ facts: DoctorFacts) -> [Finding] {
        guard let hints = facts.status?.hints else {
            return [Finding("hints", .note, needsHelper)]
        }
        let guests = facts.guests.compactMap { guest in
            guest.status.map { ("guest \(guest.guest)", $0.hints.guest) }
        }
        let machines =
            [("host", hints.host)] + (guests.isEmpty ? [("guest", hints.guest)] : guests)
        return machines.compactMap { machine, text in
            guard let text, !text.isEmpty else { return nil }
            if text == "kernel" {
                return Finding("hints", .ok, "the \(machine)'s kernel says when listeners change")
            }
            return Finding(
                "hints", .note,
                "the \(machine)'s kernel does not say when listeners change (\(text))",
                fix: "new listeners take up to 0.1 s; for less run Twinport there as root, "
                    + "on Linux 5.10 or newer")
        }
    }

    static func owners(_ facts: DoctorFacts) -> [Finding] {
        guard let error = facts.status?.ownersError else { return [] }
        return [
            Finding(
                "owners", .problem,
                "the processes behind listeners are not known any more: \(error)",
                fix: "restart the helper")
        ]
    }

    static func lowPorts(_ facts: DoctorFacts) -> Finding {
        let name = "low ports"
        let lowest = facts.ports.compactMap { port in
            if case .needsPrivilege(let number) = port.reason { number } else { nil }
        }.min()
        let fix =
            "give the helper CAP_NET_BIND_SERVICE, or: sysctl net.ipv4.ip_unprivileged_port_start="
            + "\(lowest ?? 80)"
        let denied = facts.ports.filter {
            if case .needsPrivilege = $0.reason { return $0.direction == .guestToHost }
            return false
        }
        if !denied.isEmpty {
            return Finding(name, .problem, "denied: \(list(denied))", fix: fix)
        }
        guard let first = facts.firstFreePort else {
            return Finding(name, .note, "not known on this system")
        }
        if first == 0 { return Finding(name, .ok, "no port needs a privilege") }
        switch facts.helperBindsLowPorts {
        case true: return Finding(name, .ok, "the helper may bind those below \(first)")
        case false:
            return Finding(
                name, .note, "the helper may not bind those below \(first)", fix: fix)
        default: return Finding(name, .note, "those below \(first) need CAP_NET_BIND_SERVICE")
        }
    }

    static func descriptors(_ facts: DoctorFacts) -> Finding {
        guard let status = facts.status else { return Finding("descriptors", .note, needsHelper) }
        guard let limit = facts.descriptorLimit, limit > 0 else {
            return Finding("descriptors", .note, "\(status.openDescriptors) are open")
        }
        let text = "\(status.openDescriptors) of \(limit) are open"
        let fix = "raise the helper's hard limit: LimitNOFILE= in its unit, or ulimit -Hn"
        // Flows and mirrors leave 64 to the rest.
        if status.openDescriptors + 64 >= limit {
            return Finding("descriptors", .problem, text, fix: fix)
        }
        if limit < 4_096 {
            return Finding("descriptors", .note, text + ": few, each connection is one", fix: fix)
        }
        return Finding("descriptors", .ok, text)
    }

    static func conflicts(_ facts: DoctorFacts) -> Finding {
        guard facts.status != nil else { return Finding("conflicts", .note, needsHelper) }
        let found = facts.ports.filter { $0.state == .conflict && $0.reason != .loop }
        guard let first = found.first else { return Finding("conflicts", .ok, "none") }
        return Finding(
            "conflicts", .problem, list(found), fix: question(about: first, facts))
    }

    /// Forwards whose service is not there wait, as programs would on one machine.
    static func forwards(_ facts: DoctorFacts) -> Finding {
        guard facts.status != nil else { return Finding("forwards", .note, needsHelper) }
        let all = facts.ports.filter { $0.forward != nil }
        let refused = all.filter { [.denied, .limit, .unsupported].contains($0.state) }
        if let first = refused.first {
            return Finding("forwards", .problem, list(refused), fix: fix(first, facts))
        }
        let waiting = all.filter { $0.state == .unavailable }
        guard let first = waiting.first else {
            return Finding("forwards", .ok, all.isEmpty ? "none" : "\(all.count), and none waits")
        }
        return Finding(
            "forwards", .note, "waiting for their services: \(list(waiting))",
            fix: fix(first, facts))
    }

    /// What to do about a forward, or what to ask about it.
    private static func fix(_ forward: PortSnapshot, _ facts: DoctorFacts) -> String {
        ForwardAdvice(forward).fix ?? question(about: forward, facts)
    }

    /// What to ask about a row.
    private static func question(about port: PortSnapshot, _ facts: DoctorFacts) -> String {
        let ends = port.forward.map { [$0.service, $0.socket] } ?? []
        // The other machine's end may have no name here.
        let end = ends.first { !$0.hasPrefix("(") }
        let question = end ?? "\(port.listener.port)/\(port.kind.name)"
        return "\(facts.program) explain \(ShellWord.quoted(question))"
    }

    /// Listeners without a mirror for another reason than a local one or a setting.
    static func unmirrored(_ facts: DoctorFacts) -> Finding {
        let name = "other listeners"
        guard facts.status != nil else { return Finding(name, .note, needsHelper) }
        let failed = facts.ports.filter { port in
            if port.forward != nil { return false }
            if case .needsPrivilege = port.reason { return port.direction == .hostToGuest }
            return [.denied, .limit, .unavailable].contains(port.state)
        }
        if let first = failed.first {
            return Finding(
                name, .problem, "without a mirror: \(list(failed))",
                fix: question(about: first, facts))
        }
        let offered = facts.ports.filter {
            $0.direction == .guestToHost && $0.kind.transport != nil
        }
        if let first = offered.first, offered.allSatisfy(isLeftOut) {
            return Finding(
                name, .note, "the settings leave out all of the guest's: \(list(offered))",
                fix: question(about: first, facts))
        }
        let waiting = facts.ports.filter {
            if case .needsOwner = $0.reason { true } else { false }
        }
        guard let first = waiting.first else { return Finding(name, .ok, "none is left out") }
        return Finding(
            name, .note, "waiting: \(list(waiting))",
            fix:
                "run that side's program as root, which may see processes; or: \(facts.program) explain "
                + "\(first.listener.port)/\(first.kind.name)")
    }

    /// Whether a list or a direction's switch leaves it out; the switch of all is told on a line of its own.
    private static func isLeftOut(_ port: PortSnapshot) -> Bool {
        switch port.state {
        case .ignored: ![.foreignMirror, .ownPage].contains(port.reason)
        case .disabled: !port.reason.text.hasPrefix("hostNetworking")
        default: false
        }
    }

    static func loops(_ facts: DoctorFacts) -> Finding {
        guard facts.status != nil else { return Finding("loops", .note, needsHelper) }
        let found = facts.ports.filter { $0.reason == .loop }
        if found.isEmpty { return Finding("loops", .ok, "no other forwarder leads back here") }
        return Finding(
            "loops", .problem, list(found),
            fix: "end the other forwarder (ssh -L, an editor, the VM's own), or add an ignore rule")
    }

    /// Five ports at most.
    private static func list(_ ports: [PortSnapshot]) -> String {
        let named = ports.prefix(5).map { port in
            let why = port.reason == .none ? "" : " (\(port.reason.text))"
            let guest = port.guest.isEmpty ? "" : "\(port.guest): "
            return "\(guest)\(port.kind.name) \(port.listenerText)\(why)"
        }
        let more = ports.count > 5 ? ["and \(ports.count - 5) more"] : []
        return (named + more).joined(separator: "; ")
    }
}
