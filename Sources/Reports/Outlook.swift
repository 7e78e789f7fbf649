package import TwinportModel

/// What holds for all ports of a program at once. `explain` ends with it, and `ports` says it when there are none.
package struct Outlook: Equatable, Sendable {
    /// The address that the guest has for itself.
    package var address: String?
    /// The machine of the program that reports.
    package var role: Role
    /// The guest that it is about, of several.
    package var guest = ""
    /// Whether host networking is on, as far as that is known here.
    package var isEnabled: Bool
    /// What switches host networking on, as it is typed.
    package var enableCommand = "twinport enable"
    /// What is wrong with the settings file.
    package var settingsError: String?
    /// Whether only a tunnel that it names is not in force.
    package var isTunnelsFault = false
    /// Where in the settings file things stand, as far as it can be read.
    package var lines = SettingsLines()
    /// What the settings say of single listeners, and of wildcards, as far as the file can be read.
    package var rules: [Direction: [MirrorRule]] = [:]
    package var bind: WildcardBind?
    /// Whether there is a session with the other machine.
    package var session: SessionState
    /// Why there is none.
    package var sessionError: String?
    /// Who can pass for the other end, as the tunnel has no key.
    package var tunnelWarning: String?
    /// Why the guest cannot see ports that only rules publish.
    package var blindness: String?
    /// As whom the guest's servers see clients on other machines; nil without a session.
    package var clients: ClientView?

    /// The helper's.
    ///
    /// - Parameter defaultSettings: The settings file that commands mean without `--settings`.
    package init(_ status: StatusReport, defaultSettings: String? = nil) {
        role = .host
        if status.settingsPath != defaultSettings, !status.settingsPath.isEmpty {
            enableCommand += " --settings \(ShellWord.quoted(status.settingsPath))"
        }
        isEnabled = status.enabled
        settingsError = status.settingsError
        isTunnelsFault = status.settingsErrorOf == SettingsFault.tunnel.rawValue
        tunnelWarning = status.tunnelWarning
        session = status.session
        sessionError = status.sessionError
        clients = status.clients?.view
        blindness = status.publishedError
    }

    /// What holds for each of several guests, or for the one.
    ///
    /// - Parameter lines: Where things stand in the settings file.
    package static func guests(
        of status: StatusReport, defaultSettings: String?, lines: [String: Int]
    ) -> [Outlook] {
        if status.guests.isEmpty {
            var outlook = Outlook(status, defaultSettings: defaultSettings)
            outlook.lines = SettingsLines(lines)
            return [outlook]
        }
        return status.guests.compactMap { row in
            guard let narrowed = status.narrowed(to: row.name) else { return nil }
            var outlook = Outlook(narrowed, defaultSettings: defaultSettings)
            // One guest that is switched off is said by its listeners.
            outlook.isEnabled = status.enabled
            outlook.guest = row.name
            outlook.address = row.address
            outlook.lines = SettingsLines(lines, guest: row.name)
            return outlook
        }
    }

    /// The agent's: it has no settings, and the host does not tell whether host networking is on.
    package init(_ status: AgentStatus) {
        role = .guest
        isEnabled = true
        clients = status.session == .up ? status.clients : nil
        blindness = status.publishedError
        tunnelWarning = status.tunnelWarning
        session = status.session
        sessionError = status.sessionError
    }

    /// The rule that decides about a listener, unless the file was changed since.
    func rule(for row: PortSnapshot) -> MirrorRule? {
        guard let place = row.rule else { return nil }
        return rules[row.direction]?.first {
            $0.place.number == place.number && $0.place.line == place.line
        }
    }

    /// What `ports` says when there are none.
    package var noPorts: String {
        if !isEnabled { return "No listeners. Host networking is off: \(enableCommand)" }
        if session == .down { return "No listeners. \(sessionError ?? "The tunnel is down.")" }
        return "No listeners, in the guest or on the host."
    }
}
