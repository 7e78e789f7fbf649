package import Listeners
package import Logging
internal import Posix
package import Sockets
package import TwinportKit

/// How the helper was asked to run.
package struct HostOptions: Sendable {
    /// The settings file.
    package var settingsPath: String
    /// Whether its path was given, and is not the usual one by default.
    package var settingsAreNamed = false
    /// The control socket.
    package var controlPath: String
    /// The program's version.
    package var version: String
    /// Where log lines go.
    package var log: Logger
    /// Whether the program gives up what it does not need.
    package var isSandboxed: Bool
    /// What the kernel was asked before the sandbox was entered.
    package var hints: KernelHints?
    /// The process that looks into others, started before as well.
    package var finder: FinderProcess?
    /// The process that makes sockets where the sandbox leaves it to none of ours.
    package var opener: OpenerProcess?
    /// What the sandbox leaves, once it holds on files.
    var confinement: Sandbox.Needs?

    /// Collects the options.
    package init(
        settingsPath: String, controlPath: String, version: String, log: Logger, isSandboxed: Bool
    ) {
        self.settingsPath = settingsPath
        self.controlPath = controlPath
        self.version = version
        self.log = log
        self.isSandboxed = isSandboxed
    }
}
