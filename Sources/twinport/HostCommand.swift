internal import ArgumentParser
internal import HostHelper
internal import Listeners
internal import Logging
internal import Posix
internal import ProgramSupport
internal import Settings
internal import Sockets
internal import TwinportKit

/// `twinport host`.
struct HostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "host", abstract: "Run the helper, in the foreground.",
        discussion: """
            Ends cleanly on SIGTERM and SIGINT, reads the settings again on SIGHUP; logs one line per event to \
            standard error. A settings file that does not exist holds the defaults, so host networking is off; the helper \
            says so, and reads the file as soon as it is there.
            """)

    @OptionGroup var settings: SettingsOption

    @OptionGroup var control: ControlOption

    @Option(help: "How much to log: \(Logger.levelNames).")
    var logLevel = "info"

    @Option(help: "How to write log lines: \(LogFormat.names).")
    var logFormat = LogFormat.logfmt.rawValue

    @Flag(help: "Keep the privileges that the helper does not need.")
    var noSandbox = false

    func run() throws {
        ProcessSetup.hideMemory(!noSandbox)
        Sandbox.makeFilesPrivate()
        // First thing: there is one thread, and nothing is given up yet.
        let finder = noSandbox ? nil : FinderProcess.start()
        let opener = noSandbox ? nil : OpenerProcess.start()
        // The kernel has to be asked while that is allowed.
        let hints = KernelHints()
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw Problem(usage: "--log-level \(logLevel): expected one of \(Logger.levelNames)")
        }
        guard let format = LogFormat(rawValue: logFormat) else {
            throw Problem(usage: "--log-format \(logFormat): expected one of \(LogFormat.names)")
        }
        let log = Logger.lines("twinport", level: level, format: format)
        if noSandbox { log.note(nil) }
        var options = HostOptions(
            settingsPath: try settings.absolutePath, controlPath: try control.path,
            version: Twinport.version, log: log, isSandboxed: !noSandbox)
        options.settingsAreNamed = settings.settings != nil
        options.hints = hints
        options.finder = finder
        options.opener = opener
        try HostProgram.run(options)
    }
}
