internal import ArgumentParser
internal import Control
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Settings
internal import TwinportKit
internal import TwinportModel

/// `twinport doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look for what is wrong, and say what to do.",
        discussion: Diagnosis.legend)

    @OptionGroup var control: ControlOption
    @OptionGroup var settings: SettingsOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let diagnosis = Diagnosis(facts())
        let lines = json ? [try JSONText.text(diagnosis)] : diagnosis.lines
        print(lines.joined(separator: "\n"))
        if !diagnosis.healthy { ThisProcess.end(1) }
    }

    private func facts() -> DoctorFacts {
        var facts = DoctorFacts()
        facts.version = Twinport.version
        facts.settingsPath = (try? settings.absolutePath) ?? settings.path
        facts.settingsHint = settings.hint
        askHelper(&facts)
        readSettings(&facts)
        facts.firstFreePort = OtherProcess.firstFreePort
        if let pid = facts.status?.pid {
            facts.helperBindsLowPorts = OtherProcess(pid: pid).bindsLowPorts
            facts.descriptorLimit = OtherProcess(pid: pid).descriptorLimit
        }
        return facts
    }

    private func askHelper(_ facts: inout DoctorFacts) {
        do {
            let status = try control.client.status()
            facts.ports = try control.client.ports()
            facts.status = status
            facts.tunnelSocket = (try? TunnelURI(parsing: status.tunnel))?.socketPath
                .map(Self.socket)
        } catch {
            facts.helperError = (error as? Problem)?.text ?? "\(error)"
        }
    }

    private static func socket(_ path: String) -> DoctorFacts.File {
        guard let file = SystemFiles.owner(of: path) else { return .missing }
        return file.kind == .socket ? .good : .bad("\(path) is no socket")
    }

    private func readSettings(_ facts: inout DoctorFacts) {
        if settings.settings == nil, SystemFiles.owner(of: settings.path) == nil { return }
        do {
            let found = try SettingsFile.load(settings.path, mustExist: true)
            facts.settings = .good
            facts.isEnabled = found.isEnabled
            let uri = (found.tunnel ?? .listen(.unix(path: Places.tunnel))).uri
            facts.tunnel = uri.description
            facts.keyPath = found.tunnelKey
            facts.keylessWarning = TunnelAdvice.withoutKey(uri, hasKey: false, role: .host)
            if let path = found.tunnelKey { facts.key = Self.key(path) }
        } catch {
            facts.settings = .bad("\(error)")
        }
    }

    private static func key(_ path: String) -> DoctorFacts.File {
        if SystemFiles.owner(of: path) == nil { return .missing }
        do {
            _ = try TunnelKey(file: path)
            return .good
        } catch {
            return .bad(error.description)
        }
    }
}
