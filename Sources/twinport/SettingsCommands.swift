internal import ArgumentParser
internal import Control
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Settings
internal import TwinportModel

/// `twinport enable`.
struct EnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Switch host networking on, in the settings file.")

    @OptionGroup var settings: SettingsOption
    @OptionGroup var control: ControlOption

    func run() throws { try Toggle.set(true, settings, control) }
}

/// `twinport disable`.
struct DisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Switch host networking off, in the settings file.")

    @OptionGroup var settings: SettingsOption
    @OptionGroup var control: ControlOption

    func run() throws { try Toggle.set(false, settings, control) }
}

/// What `enable` and `disable` do.
private enum Toggle {
    static func set(
        _ isOn: Bool, _ settings: SettingsOption, _ control: ControlOption
    ) throws {
        let client = try control.client
        let word = isOn ? "on" : "off"
        let wrong = try change(isOn, settings.path)
        print("Host networking is switched \(word) in \(settings.path).")
        if let remark = remark(try settings.absolutePath, settings.hint, client) { print(remark) }
        if let wrong {
            throw Problem(
                usage:
                    "\(wrong)\n  That error is elsewhere in the file, and keeps all of it from being applied: "
                    + "correct it, and host networking is \(word) at once."
                    + (isOn ? "" : " To stop it before, end the helper."))
        }
    }

    private static func change(_ isOn: Bool, _ path: String) throws -> SettingsError? {
        do throws(SettingsError) {
            return try SettingsEdit.setEnabled(isOn, path: path)
        } catch {
            guard !isOn, !error.isWriteFailure else { throw error }
            var error = error
            error.problem += "; to stop host networking now, end the helper"
            throw error
        }
    }

    /// Why that may change nothing now; nil where the helper reads this file.
    private static func remark(
        _ path: String, _ hint: String, _ client: ControlClient
    ) -> String? {
        do {
            let status = try client.status()
            if status.settingsPath == path { return nil }
            return "The helper that is running has other settings: \(status.settingsPath)."
        } catch {
            return error.isNotRunning
                ? "No helper answers at \(client.path). If none runs, nothing is mirrored: start "
                    + "\"twinport host\(hint)\". One that has its socket elsewhere (--control) and reads "
                    + "this file knows already."
                : "Whether a helper is running is not known: \(error.description)."
        }
    }
}

/// `twinport settings`.
struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "Check or show the settings.",
        subcommands: [Check.self, Show.self, Path.self])

    /// `twinport settings check`.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether the settings file is valid, and where it is not.")
        @OptionGroup var settings: SettingsOption
        @OptionGroup var control: ControlOption
        @Flag(help: "Say for each rule which listeners it decides about now.") var explain = false

        func run() throws {
            let path = settings.path
            let found = try SettingsFile.load(path, mustExist: settings.settings != nil)
            guard SettingsFile.exists(path) else {
                return print("\(path): no such file; the defaults hold: host networking is off")
            }
            try checkKey(found)
            let lines = explain ? try explanation(of: found) : []
            let warnings = SettingsWarnings.lines(found, file: path, addresses: OwnAddresses.all)
            for warning in warnings { Console.complain(warning) }
            print("\(path): valid" + Self.count(warnings))
            for line in lines { print(line) }
        }

        private static func count(_ warnings: [String]) -> String {
            guard !warnings.isEmpty else { return "" }
            return ", with \(warnings.count) warning\(warnings.count == 1 ? "" : "s")"
        }

        private func explanation(of read: Settings) throws -> [String] {
            let lists = read.allGuests.flatMap { guest in
                Direction.allCases.map { (guest.name, guest.rules($0), $0) }
            }
            guard lists.contains(where: { !$0.1.isEmpty }) else { return ["No rules."] }
            let client = try control.client
            do throws(ControlError) {
                let ports = try client.ports()
                return lists.flatMap { RuleReport.lines($0.1, $0.2, ports, guest: $0.0) }
            } catch {
                throw Problem(
                    "\(settings.path): valid, but what its rules are about cannot be told: \(error)",
                    error)
            }
        }

        /// The helper would not start without it.
        private func checkKey(_ found: Settings) throws {
            for guest in found.allGuests {
                guard let key = guest.tunnelKey else { continue }
                let place = guest.name.isEmpty ? "tunnel.key" : "guests[\(guest.name)].tunnel.key"
                do {
                    _ = try TunnelKey(file: key)
                } catch {
                    throw Problem(usage: "\(settings.path): \(place): \(error.description)")
                }
            }
        }
    }

    /// `twinport settings show`.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the settings in force after defaults, as a settings file.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            let found = try SettingsFile.load(
                settings.path, mustExist: settings.settings != nil)
            print(SettingsText.text(found), terminator: "")
        }
    }

    /// `twinport settings path`.
    struct Path: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show where the settings file is.")
        @OptionGroup var settings: SettingsOption

        func run() { print(settings.path) }
    }
}
