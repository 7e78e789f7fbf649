internal import ArgumentParser
internal import GuestAgent
internal import Listeners
internal import Logging
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Sockets
internal import TwinportKit
internal import TwinportModel

/// `twinport-agent`, the guest's program.
@main
struct TwinportAgent: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "twinport-agent",
        abstract: "Tells a desktop what listens in this VM, and carries the traffic.",
        discussion: """
            Runs in the guest, as root where the owners of sockets and quick notice of new \
            listeners are wanted. The desktop runs "twinport host". The subcommands ask a running \
            agent.

            Exit codes: 0 done, 1 failed, or no agent answers, 2 wrong usage, 4 the port of "explain" is not \
            mirrored.
            """,
        version: Twinport.version,
        subcommands: [
            StatusCommand.self, PortsCommand.self, ExplainCommand.self, DoctorCommand.self,
        ])

    @Option(
        help: """
            Dial the host: vsock://2:PORT, unix:///path.sock or tcp://ADDRESS:PORT. Or set \
            TWINPORT_CONNECT. One of this and --listen is needed.
            """)
    var connect: String?

    @Option(help: "Wait for the host instead, at the same kinds of address; vsock://any:PORT.")
    var listen: String?

    @Option(
        help: """
            The file of the key that both ends prove to have. Or set TWINPORT_KEY. Default: no key; a tcp:// tunnel \
            needs one.
            """)
    var key: String?

    @Option(
        help:
            "A user whose helper may be at a unix:// address, by number, beside root and our own. Default: none."
    )
    var hostUser: UInt32?

    @Option(
        help: """
            Which forwards of the host's settings to take part in, by their end in this guest: local, Unix sockets and \
            TCP on loopback; all; none; or places with commas between them, as unix:///run/docker.sock or \
            tcp/127.0.0.1:*. Or set TWINPORT_FORWARDS. Default: local.
            """)
    var forwards: String?

    @OptionGroup var control: ControlOption

    @Option(help: "How much to log: \(Logger.levelNames).")
    var logLevel = "info"

    @Option(help: "How to write log lines: \(LogFormat.names).")
    var logFormat = LogFormat.logfmt.rawValue

    @Flag(help: "Keep the privileges that the agent does not need.")
    var noSandbox = false

    /// Parses, runs, and ends with 0 done, 1 failed, 2 wrong usage.
    static func main() {
        Console.reserveStandardStreams()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as UsageProblem {
            complain(error.description)
            ThisProcess.end(2)
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if code == .success {
                print(text)
                exit(withError: nil)
            }
            LogWriter.standardError.finish()
            complain(code == .validationFailure ? text + suggestion : "\(error)")
            ThisProcess.end(code == .validationFailure ? 2 : 1)
        }
    }

    /// Which subcommand was meant, if the first word is nearly one.
    private static var suggestion: String {
        let names = configuration.subcommands.map { $0._commandName }
        guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-"),
            !names.contains(word), let nearest = NearestWord.to(word, among: names)
        else { return "" }
        return "\n  Did you mean '\(nearest)'?"
    }

    private static func complain(_ text: String) {
        Console.complain(text.hasPrefix("Error") ? text : "twinport-agent: \(text)")
    }

    mutating func run() throws {
        ProcessSetup.hideMemory(!noSandbox)
        Sandbox.makeFilesPrivate()
        // While there is one thread, nothing is given up yet, and no key is in memory.
        let finder = noSandbox ? nil : FinderProcess.start()
        let opener = noSandbox ? nil : OpenerProcess.start()
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw UsageProblem("--log-level \(logLevel): expected one of \(Logger.levelNames)")
        }
        guard let format = LogFormat(rawValue: logFormat) else {
            throw UsageProblem("--log-format \(logFormat): expected one of \(LogFormat.names)")
        }
        let control = try self.control.path()
        var options = AgentOptions(
            mode: try mode(), key: try tunnelKey(), version: Self.configuration.version,
            log: .lines("twinport-agent", level: level, format: format), isSandboxed: !noSandbox)
        if let hostUser { options.hostUsers = [hostUser] }
        options.finder = finder
        options.opener = opener
        options.forwards = try allowance()
        // The kernel has to be asked before the sandbox is entered.
        options.hints = KernelHints()
        // Made now, served within the sandbox.
        options.openServer(at: control)
        options.log.note(noSandbox ? nil : Sandbox.enter(needs(options.mode, control)))
        try AgentProgram.run(options)
    }

    private func needs(_ mode: TunnelMode, _ control: String) -> Sandbox.Needs {
        // The key has been read.
        Sandbox.Needs(tunnels: [mode], control: control, files: [])
    }

    private func mode() throws -> TunnelMode {
        let dial = connect ?? (listen == nil ? ThisProcess.environment("TWINPORT_CONNECT") : nil)
        let source = connect == nil ? "TWINPORT_CONNECT" : "--connect"
        switch (dial, listen) {
        case (let dial?, nil): return try checked(.connect(try uri(dial, source)), source)
        case (nil, let listen?):
            return try checked(.listen(try uri(listen, "--listen")), "--listen")
        case (nil, nil):
            throw UsageProblem(
                "where is the host? Give --connect or --listen with an address, as "
                    + "--connect vsock://2:1024, or set TWINPORT_CONNECT")
        default: throw UsageProblem("--connect and --listen exclude each other; give one of them")
        }
    }

    private func checked(_ mode: TunnelMode, _ source: String) throws -> TunnelMode {
        if let problem = mode.obstacle(on: .guest) {
            throw UsageProblem("\(source) \(mode.uri): \(problem)")
        }
        return mode
    }

    private func allowance() throws -> ForwardAllowance {
        let text = forwards ?? ThisProcess.environment("TWINPORT_FORWARDS") ?? "local"
        guard let allowance = ForwardAllowance(text) else {
            let source = forwards == nil ? "TWINPORT_FORWARDS=" : "--forwards "
            throw UsageProblem("\(source)\(text): \(ForwardAllowance.problem(with: text))")
        }
        return allowance
    }

    private func tunnelKey() throws -> TunnelKey? {
        guard let path = key ?? ThisProcess.environment("TWINPORT_KEY") else {
            guard case .tcp = try mode().uri else { return nil }
            throw UsageProblem(
                "a tcp:// tunnel needs --key PATH, with the key that \"twinport key new\" made on "
                    + "the host")
        }
        do {
            return try TunnelKey(file: path)
        } catch {
            throw UsageProblem("\(key == nil ? "TWINPORT_KEY" : "--key"): \(error)")
        }
    }

    private func uri(_ text: String, _ source: String) throws -> TunnelURI {
        do {
            return try TunnelURI(parsing: text)
        } catch {
            throw UsageProblem("\(source): \(error)")
        }
    }
}
