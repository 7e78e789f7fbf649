internal import ArgumentParser
internal import Control
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Settings
internal import TwinportKit
internal import TwinportModel

/// `twinport`, the desktop's program and its command line.
@main
struct TwinportCommand: ParsableCommand {

    static let configuration = CommandConfiguration(
        commandName: "twinport",
        abstract:
            "Host networking for VMs: what listens in the guest answers here, and the reverse.",
        discussion: """
            Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no helper is running, 4 the port of \
            "explain" is not mirrored.
            """,
        version: Twinport.version,
        subcommands: [
            HostCommand.self, StatusCommand.self, PortsCommand.self, FlowsCommand.self,
            ExplainCommand.self, TopCommand.self, PageCommand.self,
            EventsCommand.self, MetricsCommand.self, DoctorCommand.self,
            SchemaCommand.self, EnableCommand.self, DisableCommand.self, SettingsCommand.self,
            KeyCommand.self, HostsCommand.self, SandboxCommand.self,
        ])

    /// Parses, runs, and ends with the documented codes.
    static func main() {
        Console.reserveStandardStreams()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            finish(error)
        }
    }

    private static func finish(_ error: any Error) -> Never {
        switch error {
        case let error as ExitCode: ThisProcess.end(error.rawValue)
        case let error as Problem: end(error.text, error.code)
        case let error as SettingsError: end("\(error)", error.isWriteFailure ? 1 : 2)
        case let error as TunnelKey.FileError: end("\(error)", 2)
        case let error as ControlError: end("\(error)", error.isNotRunning ? 3 : 1)
        default:
            let code = exitCode(for: error)
            if code == .success {
                print(fullMessage(for: error))
                exit(withError: nil)
            }
            if code == .validationFailure {
                Console.complain(fullMessage(for: error) + suggestion)
                ThisProcess.end(2)
            }
            end("\(error)", 1)
        }
    }

    /// Which subcommand was meant, if a word is nearly one.
    private static var suggestion: String {
        var command: any ParsableCommand.Type = self
        for word in CommandLine.arguments.dropFirst() {
            let next = command.configuration.subcommands
            if let found = next.first(where: { $0._commandName == word }) {
                command = found
                continue
            }
            let names = next.filter { $0.configuration.shouldDisplay }.map { $0._commandName }
            let nearest = word.hasPrefix("-") ? nil : NearestWord.to(word, among: names)
            return nearest.map { "\n  Did you mean '\($0)'?" } ?? ""
        }
        return ""
    }

    private static func end(_ text: String, _ code: Int32) -> Never {
        Console.complain("twinport: \(text)")
        ThisProcess.end(code)
    }
}
