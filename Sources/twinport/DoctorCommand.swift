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
    @OptionGroup var guest: GuestOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let diagnosis = Diagnosis(try facts())
        let lines = json ? [try JSONText.text(diagnosis)] : diagnosis.lines
        print(lines.joined(separator: "\n"))
        if !diagnosis.healthy { ThisProcess.end(1) }
    }

    private func facts() throws -> DoctorFacts {
        var facts = DoctorFacts()
        facts.version = Twinport.version
        facts.settingsPath = (try? settings.absolutePath) ?? settings.path
        facts.settingsHint = settings.hint
        try askHelper(&facts)
        readSettings(&facts)
        facts.firstFreePort = OtherProcess.firstFreePort
        if let pid = facts.status?.pid {
            facts.helperBindsLowPorts = OtherProcess(pid: pid).bindsLowPorts
            facts.descriptorLimit = OtherProcess(pid: pid).descriptorLimit
        }
        return facts
    }

    private func askHelper(_ facts: inout DoctorFacts) throws {
        do {
            let status = try control.status(guest)
            facts.ports = try control.client.ports().filter { guest.covers($0.guest) }
            facts.status = status
            facts.guest = guest.guest ?? ""
            facts.tunnelSocket = Self.tunnelSocket(status)
            guard guest.guest == nil else { return }
            facts.guests = status.guests.map { row in
                var about = DoctorFacts()
                about.guest = row.name
                about.status = status.narrowed(to: row.name)
                about.tunnelSocket = about.status.flatMap(Self.tunnelSocket)
                return about
            }
        } catch let problem as Problem where guest.guest != nil {
            throw problem
        } catch {
            facts.helperError = (error as? Problem)?.text ?? "\(error)"
        }
    }

    private static func tunnelSocket(_ status: StatusReport) -> DoctorFacts.File? {
        (try? TunnelURI(parsing: status.tunnel))?.socketPath.map(Self.socket)
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
            for plan in found.allGuests {
                if plan.name == facts.guest { Self.readGuest(plan, &facts) }
                let index = facts.guests.firstIndex { $0.guest == plan.name }
                if let index { Self.readGuest(plan, &facts.guests[index]) }
            }
        } catch {
            facts.settings = .bad("\(error)")
        }
    }

    private static func readGuest(_ plan: Settings.Guest, _ facts: inout DoctorFacts) {
        let uri = plan.tunnel.uri
        facts.settings = .good
        facts.tunnel = uri.description
        facts.keyPath = plan.tunnelKey
        facts.keylessWarning = TunnelAdvice.withoutKey(uri, hasKey: false, role: .host)
        if let path = plan.tunnelKey { facts.key = key(path) }
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
