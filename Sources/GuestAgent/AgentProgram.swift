package import AgentControl
internal import EventLoop
package import Listeners
package import Logging
package import Noise
internal import Posix
internal import ProgramSupport
package import Sockets
package import TwinportKit
package import TwinportModel

// # The guest's program
//
//     main thread        signals                             AgentProgram
//     the node's two     tunnel, mirrors, flows; listeners   TwinportKit.Node
//     one of its own     the local socket                    AgentServer
//
// A node with the role of the guest, and around it what belongs to a process: limits, sandbox, signals, a local socket
// for questions. The agent has no settings: what it needs of the host's arrives as POLICY.

/// How the agent was asked to run.
package struct AgentOptions: Sendable {
    /// Where the tunnel is.
    package var mode: TunnelMode
    /// What both ends of the tunnel hold.
    package var key: TunnelKey?
    /// The program's version, told to the host.
    package var version: String
    /// Where log lines go.
    package var log: Logger
    /// Whether the program has given up what it does not need.
    package var isSandboxed: Bool
    /// What the kernel was asked before the sandbox was entered.
    package var hints: KernelHints?
    /// Users who may be at the other end of a Unix socket, beside root and our own.
    package var hostUsers: Set<UInt32> = []
    /// The process that looks into others, started before as well.
    package var finder: FinderProcess?
    /// The process that makes sockets where the sandbox leaves it to none of ours.
    package var opener: OpenerProcess?
    /// Which of the host's forwards this guest takes part in.
    package var forwards = ForwardAllowance.local
    /// Where questions are answered; nil: nowhere.
    package var server: AgentServer?

    /// Collects the options.
    package init(
        mode: TunnelMode, key: TunnelKey?, version: String, log: Logger, isSandboxed: Bool
    ) {
        self.mode = mode
        self.key = key
        self.version = version
        self.log = log
        self.isSandboxed = isSandboxed
    }

    /// Makes the local socket. Without one the agent works, too: it logs a warning.
    package mutating func openServer(at path: String) {
        do {
            server = try AgentServer(path: path)
        } catch {
            Self.warn(log, error.description)
        }
    }

    /// Ends what was started for the program.
    fileprivate func stop() {
        server?.stop()
        opener?.stop()
        finder?.stop()
    }

    fileprivate static func warn(_ log: Logger, _ reason: String) {
        log.warning(
            "no local reports: the other commands of twinport-agent cannot ask this agent",
            metadata: ["reason": "\(reason)"])
    }
}

/// The guest's program.
package enum AgentProgram {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Throws: `NodeError`, `SystemError` when the kernel refuses a loop.
    package static func run(_ options: AgentOptions) throws {
        ProcessSetup.prepare()
        let log = options.log
        log.watch(options.finder)
        let node = Node(NodeConfiguration(options))
        defer { options.stop() }
        _ = node.subscribe { ServiceManager.note($0, "host") }
        let hangUp = HangUp()
        let signals = try SignalWait([15, 2], beside: HangUp.signal) {
            if !hangUp.isEnd { log.info("nothing is read again: the agent has no settings") }
            return hangUp.isEnd
        }
        // Before the watcher asks the finder for something that takes longer.
        let reports = AgentReports(
            node, tunnel: options.mode, hasKey: options.key != nil, version: options.version,
            finder: options.finder)
        try node.start()
        serve(options, reports)
        log.info("agent started", metadata: ["tunnel": "\(options.mode.uri)"])
        ServiceManager.ready()
        signals.wait()
        log.info("agent stopping")
        ServiceManager.stopping()
        options.server?.stop()
        node.stop()
        // Last: a second signal must not end the program while it says goodbye.
        signals.close()
        options.stop()
        LogWriter.standardError.finish()
    }

    /// Answers questions on a thread of its own.
    private static func serve(_ options: AgentOptions, _ reports: AgentReports) {
        do {
            try options.server?.start { reports.answer($0) }
        } catch {
            options.server?.stop()
            AgentOptions.warn(options.log, error.description)
        }
    }
}

extension NodeConfiguration {
    /// What these options say of the node.
    fileprivate init(_ options: AgentOptions) {
        self.init(
            role: .guest, tunnel: .opened(options.mode, key: options.key?.bytes),
            program: options.version, log: options.log)
        hints = options.hints
        trustedUsers = options.hostUsers
        trustRemedy =
            "; if that is the helper's user, start the agent with --host-user and that number"
        finder = options.finder
        opener = options.opener
        policy.forwardAllowance = options.forwards
    }
}
