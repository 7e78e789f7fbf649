internal import ArgumentParser
internal import Control
internal import LogLines
internal import Noise
internal import Posix
internal import Settings

/// `twinport`, the desktop's program and its command line.
@main
struct Twinport: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "twinport",
        abstract:
            "Host networking for VMs: what listens in the guest answers here, and the reverse.",
        discussion: """
            Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no helper is running.
            """,
        version: version,
        subcommands: [
            HostCommand.self, StatusCommand.self, PortsCommand.self, FlowsCommand.self,
            ExplainCommand.self, EnableCommand.self, DisableCommand.self, SettingsCommand.self,
            KeyCommand.self, SandboxCommand.self,
        ])

    /// Parses, runs, and ends with the documented codes.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            finish(error)
        }
    }

    private static func finish(_ error: any Error) -> Never {
        switch error {
        case let error as Problem: end(error.text, error.code)
        case let error as SettingsError: end("\(error)", 2)
        case let error as TunnelKey.FileError: end("\(error)", 2)
        case let error as ControlError: end("\(error)", error.isNotRunning ? 3 : 1)
        default:
            let code = exitCode(for: error)
            if code == .success {
                print(fullMessage(for: error))
                exit(withError: nil)
            }
            if code == .validationFailure {
                Machine.complain(fullMessage(for: error))
                Machine.end(2)
            }
            end("\(error)", 1)
        }
    }

    private static func end(_ text: String, _ code: Int32) -> Never {
        Machine.complain("twinport: \(text)")
        Machine.end(code)
    }
}

/// Something that ends the program, with its code.
struct Problem: Error {
    let text: String
    let code: Int32

    init(usage text: String) {
        self.text = text
        code = 2
    }
}

/// `--control`, for every command that asks a running helper.
struct ControlOption: ParsableArguments {
    @Option(help: "The helper's control socket.")
    var control: String?

    var client: ControlClient { ControlClient(path: control ?? Places.control) }
}

/// `--settings`.
struct SettingsOption: ParsableArguments {
    @Option(help: "The settings file.")
    var settings: String?

    var path: String { settings ?? Places.settings }
}
