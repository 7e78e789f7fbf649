package import TwinportModel

// `explain` of both programs: a block of lines for each listener of a port, from the snapshots. Pure. Sentences are built
// from enums: what a state or a reason means is said here, and nowhere read out of words.

/// Says what listens on a port, how its mirror fares, why, and what to do.
package enum Explanation {
    private static let explained: Set<SocketKind> = [.tcp, .udp, .udplite, .sctp, .unix]

    /// The blocks of the one guest's listeners, an empty line between two, and last what holds for all ports.
    package static func text(
        _ question: PortQuestion, ports: [PortSnapshot], outlook: Outlook
    ) -> String {
        text(question, ports: ports, guests: [outlook])
    }

    /// The block of one listener, and what holds for all ports.
    ///
    /// - Parameter guests: What holds for each of several guests, or for the one.
    package static func text(of row: PortSnapshot, guests: [Outlook]) -> String {
        guard let outlook = guests.first(where: { $0.guest == row.guest }) else { return "" }
        return [block(row, outlook).text, general(outlook)].compactMap { $0 }
            .joined(separator: "\n\n")
    }

    /// The same of several guests: a block for each listener, and last what holds for the guests that have one there;
    /// where none has, for all.
    package static func text(
        _ question: PortQuestion, ports: [PortSnapshot], guests: [Outlook]
    ) -> String {
        let rows = rows(question, ports)
        var blocks = guests.flatMap { outlook in
            rows.filter { $0.guest == outlook.guest }.map { block($0, outlook).text }
        }
        if blocks.isEmpty, let first = guests.first { blocks = [nothing(question, first)] }
        let concerned = guests.filter { outlook in
            rows.isEmpty || rows.contains { $0.guest == outlook.guest }
        }
        for general in concerned.compactMap({ general($0) }) where !blocks.contains(general) {
            blocks.append(general)
        }
        return blocks.joined(separator: "\n\n")
    }

    /// The listeners that it is about, by direction, port and address.
    package static func rows(_ question: PortQuestion, _ ports: [PortSnapshot]) -> [PortSnapshot] {
        if let path = question.path { return ForwardExplanation.rows(path, ports) }
        let rows = ports.filter { row in
            isAbout(row, question.port) && explained.contains(row.kind)
                && (question.transport == nil || row.kind.transport == question.transport)
        }
        return rows.sorted { isBefore($0, $1) }
    }

    private static func isBefore(_ one: PortSnapshot, _ two: PortSnapshot) -> Bool {
        func key(_ row: PortSnapshot) -> (String, Port, String, String, String) {
            (
                row.direction.rawValue, row.listener.port, row.listenerText, row.kind.name,
                row.guest
            )
        }
        return key(one) < key(two)
    }

    /// Whether a port is a listener's, or one where its mirror is or cannot be.
    private static func isAbout(_ row: PortSnapshot, _ port: Port) -> Bool {
        ForwardExplanation.isAbout(row, port) || row.listener.port == port
            || row.mirrors.contains { $0.port == port }
            || row.reason.place?.port == port
    }

    private static func nothing(_ question: PortQuestion, _ outlook: Outlook) -> String {
        if let path = question.path { return ForwardExplanation.nothing(path) }
        let look =
            " If a program should, see with \"ss -ltnu\" on its machine whether it does; "
            + "a TCP socket that is only bound does not."
        if outlook.role == .guest {
            return "Nothing that the agent knows of listens on port \(question.text) in the guest"
                + (outlook.session == .up
                    ? ", and the host tells of no listener there. It does not tell of those that its settings keep "
                        + "from the guest: \"twinport explain \(question.text)\" on the host does.\(look)"
                    : ".")
        }
        return
            "Nothing that Twinport knows of listens on port \(question.text), in "
            + "\(outlook.guest.isEmpty ? "the" : "any") guest or on the host."
            + (outlook.session == .up ? look : "")
            + (outlook.blindness.map {
                " The guest does not see ports that only rules of its packet filter publish (\($0))."
            } ?? "")
    }

    private static func general(_ outlook: Outlook) -> String? {
        guard let error = outlook.settingsError else { return circumstances(outlook) }
        guard outlook.isTunnelsFault else {
            return
                "The settings file has an error and changes nothing until that is corrected; host networking is "
                + "\(outlook.isEnabled ? "on" : "off") as before: \(error)."
        }
        let trouble =
            "The settings are in force, except for a tunnel that cannot be opened: \(error).\n"
            + "  Fix: correct that; save the file again if the tunnel is not there within ten seconds. An earlier tunnel "
            + "stays until then."
        return [circumstances(outlook), trouble].compactMap { $0 }.joined(separator: "\n\n")
    }

    /// What holds for all ports although the settings are in force.
    private static func circumstances(_ outlook: Outlook) -> String? {
        if !outlook.isEnabled {
            return
                "Host networking is off: \"\(outlook.enableCommand)\" switches it on, or says why it cannot."
        }
        if outlook.session == .down {
            if let trouble = outlook.sessionError, TunnelAdvice.isAboutKey(trouble) {
                let end = name(outlook.role.peer, outlook.guest)
                return "The tunnel to \(end) is down: \(trouble).\n"
                    + "  Fix: \(TunnelAdvice.sameKey)."
            }
            let other = outlook.role == .host ? "twinport-agent" : "\"twinport host\""
            return "The tunnel to \(name(outlook.role.peer, outlook.guest)) is down"
                + (outlook.sessionError.map { " (\($0))" } ?? "")
                + ": is \(other) running \(place(outlook.role.peer, outlook.guest))?"
        }
        let which = outlook.guest.isEmpty ? "The tunnel" : "The tunnel to guest \(outlook.guest)"
        return outlook.tunnelWarning.map { "\(which) has \($0)." }
    }

    private static func block(_ row: PortSnapshot, _ outlook: Outlook) -> ExplanationBlock {
        if row.forward != nil { return ForwardExplanation.block(row, outlook) }
        let container = row.container.map { ", container \($0.label)" } ?? ""
        let owner = row.owner.isEmpty ? "" : " (\(row.owner)\(container))"
        var block = verdict(row, outlook.lines)
        let name = row.kind.name.uppercased()
        let what = row.published.isEmpty ? "A \(name) listener on" : "The published \(name) port"
        block.verdict =
            "\(what) \(row.listener) "
            + "\(place(row.direction.listenerRole, row.guest))\(owner) \(block.verdict)"
        if !row.published.isEmpty {
            block.also.append(
                "Whether a socket is there or not, a rule publishes it: \(row.published).")
        }
        if let clients = outlook.clients.flatMap({ ClientAdvice.text(row, $0) }) {
            block.also.append(clients)
        }
        if let rule = RuleAdvice.deciding(row, outlook.rule(for: row)) { block.also.append(rule) }
        if let elsewhere = RuleAdvice.elsewhere(row, outlook) { block.also.append(elsewhere) }
        if let remedy = RuleAdvice.remedy(for: row) {
            block.fix += block.fix.isEmpty ? remedy : " \(remedy)"
        }
        return block
    }

    private static func place(_ role: Role, _ guest: String) -> String {
        role == .guest ? "in \(name(.guest, guest))" : "on the host"
    }

    /// - Parameter guest: Which one, of several.
    private static func name(_ role: Role, _ guest: String) -> String {
        if role == .host { return "the host" }
        return guest.isEmpty ? "the guest" : "guest \(guest)"
    }

    private static func verdict(_ row: PortSnapshot, _ lines: SettingsLines) -> ExplanationBlock {
        let there = name(row.direction.listenerRole.peer, row.guest)
        switch row.state {
        case .active: return active(row, there)
        case .pending: return pending(row, there)
        case .conflict: return neighbour(row.reason, there) ?? conflict(row.reason, there)
        case .denied:
            return .notMirrored(
                "\(there) does not permit it. \(capitalised(row.reason.text)).",
                fix: LeftOut.permitting(row))
        case .unavailable:
            let why = row.reason == .none ? "its address does not exist" : row.reason.text
            return .notMirrored("\(why) (\(there)).")
        case .covered:
            return ExplanationBlock(
                "is served by the mirror of the wildcard listener on the same port "
                    + "\(row.reason.text).")
        case .ignored: return LeftOut.block(row, lines)
        case .unsupported: return unsupported(row.reason, there)
        case .limit: return .notMirrored("a limit is reached: \(row.reason.text).")
        case .disabled: return LeftOut.switchedOff(row.reason, lines)
        }
    }

    private static func active(_ row: PortSnapshot, _ there: String) -> ExplanationBlock {
        let flows = row.flows == 1 ? "1 flow is" : "\(row.flows) flows are"
        var block = ExplanationBlock(
            "is mirrored at \(mirrors(row)) of \(there); \(flows) open.",
            why: [.none, .clientsAreLoopback].contains(row.reason) ? "" : "\(row.reason.text).",
            also: [holds(there)])
        if case .targetFails = row.reason {
            block.fix =
                "see whether something serves the rule's target (docker ps, podman ps, kubectl get endpoints); the "
                + "count ends with the next connection that is answered."
        }
        return block
    }

    private static func pending(_ row: PortSnapshot, _ there: String) -> ExplanationBlock {
        if case .needsOwner = row.reason {
            return ExplanationBlock(
                "is not mirrored yet.", why: "\(row.reason.text).",
                fix: "it is known within half a second, "
                    + "if the program that watches \(place(row.direction.listenerRole, row.guest)) is root."
            )
        }
        if row.reason == .ownerNotKnownYet {
            return ExplanationBlock(
                "is not mirrored yet.", why: "\(row.reason.text).",
                fix: "none is needed: ask again in a few seconds.")
        }
        // During an outage mirrors stay bound for a while, and are in the way of others.
        if case .tunnelDownKept = row.reason, !row.mirrors.isEmpty {
            return ExplanationBlock(
                "is mirrored at \(mirrors(row)) of \(there), but nothing answers there.",
                why: "\(row.reason.text).", also: [holds(there)])
        }
        return ExplanationBlock(
            "is not mirrored yet.", why: row.reason == .none ? "" : "\(row.reason.text).")
    }

    private static func mirrors(_ row: PortSnapshot) -> String {
        row.mirrors.isEmpty ? "?" : row.mirrors.map(\.description).joined(separator: ",")
    }

    private static func holds(_ there: String) -> String {
        "The mirror holds that port of \(there): a program there that binds it gets EADDRINUSE, "
            + "and may get the port when it tries again."
    }

    /// A conflict with another guest's mirror, or with a forward; nil: it is another conflict.
    private static func neighbour(_ reason: Reason, _ there: String) -> ExplanationBlock? {
        switch reason {
        case .guestHolds(let guest, let endpoint):
            .notMirrored(
                "\(endpoint) on \(there) is where guest \(guest) has a mirror, and the first one keeps "
                    + "the place.",
                fix: "give one of the two guests an address of its own, as address: 127.0.1.2 in "
                    + "guests, or a rule with another port.")
        case .forwardHolds(let number, let endpoint):
            .notMirrored(
                "\(endpoint) on \(there) is where \(Reason.forward(number)) of the settings listens, and a place "
                    + "that the settings name goes before a mirror.",
                fix: "let the forward listen elsewhere, or the listener use another port.")
        default: nil
        }
    }

    private static func conflict(_ reason: Reason, _ there: String) -> ExplanationBlock {
        switch reason {
        case .keptAfter(_, let owner, _):
            return ExplanationBlock(
                "is not mirrored yet.", why: "\(reason.text) on \(there), and may be restarting.",
                fix: "none is needed: if \(owner) stays away, the mirror appears within seconds.")
        case .otherFamily(let owner, let endpoint):
            let holder = owner.isEmpty ? "a program" : owner
            return .notMirrored(
                "\(holder) holds \(endpoint) on \(there), and programs that connect to "
                    + "\"localhost\" mean it.",
                fix: "stop that program, let one of the two use another port, or name the port "
                    + "in guestToHost.only if it may stand beside it.")
        case .keptFor:
            return ExplanationBlock(
                "is not mirrored for the moment.", why: "\(reason.text) on \(there).")
        case .mirrorHolds(let listener, let endpoint):
            return .notMirrored("\(endpoint) on \(there) is where \(listener) is mirrored already.")
        case .twinportHolds(let twinport, let endpoint):
            return .notMirrored(
                "\(endpoint) on \(there) is where \(Reason.anotherTwinport(twinport)) has a mirror.",
                fix: "the first one keeps the port; let one of the two listeners use another.")
        case .loop:
            return .notMirrored(
                "its connections came back to its own mirror on \(there), through "
                    + "another forwarder (ssh -L, an editor, the VM's own).",
                fix: "stop that one, or leave the port out with "
                    + "an ignore rule; a new listener on the port is mirrored again.")
        default: break
        }
        let why = reason == .none ? "its port is in use on \(there)" : "\(reason.text) on \(there)"
        return .notMirrored(
            "\(why).",
            fix:
                "stop that program or let one of the two use another port; its address is then kept "
                + "free for 5 s, and the mirror appears at most two seconds later.")
    }

    private static func unsupported(_ reason: Reason, _ there: String) -> ExplanationBlock {
        switch reason {
        case .interfaceAddress:
            .notMirrored(
                "it is bound to an address of one interface, which \(there) does not have.",
                fix: "let it listen on 0.0.0.0, [::] or a loopback address.")
        case .portZero: .notMirrored("it has no port.")
        case .boundToDevice(let device):
            .notMirrored(
                "it is bound to the device \(device) (SO_BINDTODEVICE, a VRF): "
                    + "only what arrives there reaches it.")
        case .kernelSocket(let device):
            .notMirrored(
                "it is the kernel's own\(device.isEmpty ? "" : ", of the interface \(device)"): "
                    + "no process holds it. A tunnel (VXLAN, GENEVE, WireGuard, …) is not mirrored."
            )
        case .otherNamespace:
            .notMirrored(
                "it is in another network namespace, as that of a rootless container engine, so nothing "
                    + "outside of it reaches it.",
                fix: "publish the port, or start the engine with the machine's own network.")
        case .notListening:
            .notMirrored("it is bound, but does not listen: its program has not called listen().")
        case .other(let words): .notMirrored("\(words).")
        case .multicastAddress:
            .notMirrored(
                "it is bound to a multicast address; layer 4 forwarding carries no multicast.")
        default:
            .notMirrored("it uses \(reason.text), which layer 4 forwarding does not carry.")
        }
    }

    private static func capitalised(_ text: String) -> String {
        guard let first = text.first else { return "" }
        return first.uppercased() + text.dropFirst()
    }
}
