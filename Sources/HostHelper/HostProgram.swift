internal import Control
internal import EventLoop
internal import Listeners
internal import Logging
internal import Posix
internal import ProgramSupport
internal import Settings
internal import Sockets

// # The desktop's program
//
//     main thread        settings file, signals              HostHelper
//     one for each guest tunnel, mirrors, flows              TwinportKit.Node, HostedGuests
//     one                listeners of the desktop            TwinportKit.DesktopShare
//     SwiftNIO, one      the control API                     ControlServer
//
// The nodes do the work. This module gives them what belongs to a process: its limits, its sandbox, a settings
// file that is watched, signals, and the control API.

/// The desktop's program.
package enum HostProgram {
    /// Runs until SIGTERM or SIGINT. Blocks.
    ///
    /// - Throws: `SettingsError` when the settings are wrong at the start, `ControlError` when the control
    ///   socket cannot be served, `NodeError` when the tunnel cannot be opened.
    package static func run(_ options: HostOptions) throws {
        ProcessSetup.prepare()
        defer {
            options.opener?.stop()
            options.finder?.stop()
        }
        let settings = try SettingsFile.load(options.settingsPath)
        let folders = try StartFolders(options, settings)
        do {
            try run(options, settings)
        } catch {
            folders.remove()
            throw error
        }
    }

    private static func run(_ given: HostOptions, _ settings: Settings) throws {
        var options = given
        if options.isSandboxed { options.confinement = confine(options, settings) }
        // The control socket first: it is also the lock that keeps a second helper out.
        let backend = NodeBackend()
        let server = try ControlServer(path: options.controlPath, backend: backend)
        defer { server.stop() }
        let helper = try HostHelper.make(options, settings, backend.feed)
        guard try helper.run(started: { backend.open(helper.reports) }) else { return }
        // The C library's exit would wait for the thread that looks at the settings file.
        server.stop()
        options.opener?.stop()
        options.finder?.stop()
        LogWriter.standardError.finish()
        ThisProcess.end(0)
    }

    /// Enters the sandbox. From here on there may be more threads than one.
    ///
    /// - Returns: What it leaves; nil where it does not hold on files.
    private static func confine(_ options: HostOptions, _ settings: Settings) -> Sandbox.Needs? {
        let guests = settings.allGuests
        var needs = Sandbox.Needs(
            tunnels: guests.map(\.tunnel), control: options.controlPath,
            files: [options.settingsPath] + guests.compactMap(\.tunnelKey))
        needs.allowSockets(at: [Places.tunnel])
        let result = Sandbox.enter(needs)
        options.log.note(result)
        return result.holds.contains(Sandbox.filesWord) ? needs : nil
    }
}
