internal import ArgumentParser
internal import HostHelper
internal import LogLines
internal import Logging
internal import Posix
internal import Settings

/// `twinport host`.
struct HostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "host", abstract: "Run the helper, in the foreground.",
        discussion: "Ends cleanly on SIGTERM and SIGINT; logs one line per event to standard error."
    )

    @OptionGroup var settings: SettingsOption

    @Option(help: "Where to put the control socket.")
    var control: String?

    @Option(help: "How much to log: \(Logger.levelNames).")
    var logLevel = "info"

    @Flag(help: "Keep the privileges that the helper does not need.")
    var noSandbox = false

    func run() throws {
        // First thing: there is one thread, which is what the sandbox wants.
        Sandbox.makeFilesPrivate()
        let sandbox = noSandbox ? nil : Sandbox.enter()
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw Problem(usage: "--log-level \(logLevel): expected one of \(Logger.levelNames)")
        }
        let log = Logger.lines("twinport", level: level)
        log.note(sandbox)
        try HostProgram.run(
            HostOptions(
                settingsPath: settings.path, controlPath: control ?? Places.control,
                version: Twinport.version, log: log, isSandboxed: sandbox != nil))
    }
}
