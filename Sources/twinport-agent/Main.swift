internal import Addresses
internal import ArgumentParser
internal import GuestAgent
internal import LogLines
internal import Logging
internal import Noise
internal import Posix
internal import Tunnel

/// `twinport-agent`, the guest's program.
@main
struct TwinportAgent: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "twinport-agent",
        abstract: "Tells a desktop what listens in this VM, and carries the traffic.",
        discussion: """
            Runs in the guest, as root where the owners of sockets and quick notice of new \
            listeners are wanted. The desktop runs "twinport host".
            """,
        version: "0.1.0")

    @Option(
        help: """
            Dial the host: vsock://2:PORT, unix:///path.sock or tcp://ADDRESS:PORT. Or set \
            TWINPORT_CONNECT.
            """)
    var connect: String?

    @Option(help: "Wait for the host instead, at the same kinds of address; vsock://any:PORT.")
    var listen: String?

    @Option(help: "The key file of a tcp:// tunnel. Or set TWINPORT_KEY.")
    var key: String?

    @Option(help: "How much to log: \(Logger.levelNames).")
    var logLevel = "info"

    @Flag(help: "Keep the privileges that the agent does not need.")
    var noSandbox = false

    /// Parses, runs, and ends with 0 done, 1 failed, 2 wrong usage.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as UsageProblem {
            complain(error.description)
            Machine.end(2)
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if code == .success {
                print(text)
                exit(withError: nil)
            }
            complain(code == .validationFailure ? text : "\(error)")
            Machine.end(code == .validationFailure ? 2 : 1)
        }
    }

    private static func complain(_ text: String) {
        Machine.complain(text.hasPrefix("Error") ? text : "twinport-agent: \(text)")
    }

    mutating func run() throws {
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw UsageProblem("--log-level \(logLevel): expected one of \(Logger.levelNames)")
        }
        let options = AgentOptions(
            mode: try mode(), key: try tunnelKey(), version: Self.configuration.version,
            log: .lines("twinport-agent", level: level), isSandboxed: !noSandbox)
        Sandbox.makeFilesPrivate()
        options.log.note(noSandbox ? nil : Sandbox.enter())
        try AgentProgram.run(options)
    }

    private func mode() throws -> TunnelEndpoint.Mode {
        let dial = connect ?? (listen == nil ? Machine.environment("TWINPORT_CONNECT") : nil)
        switch (dial, listen) {
        case (let dial?, nil): return .connect(try uri(dial))
        case (nil, let listen?): return .listen(try uri(listen))
        case (nil, nil):
            throw UsageProblem(
                "where is the host? Give --connect or --listen with an address, as "
                    + "--connect vsock://2:1024, or set TWINPORT_CONNECT")
        default: throw UsageProblem("--connect and --listen exclude each other")
        }
    }

    private func tunnelKey() throws -> TunnelKey? {
        guard let path = key ?? Machine.environment("TWINPORT_KEY") else {
            guard case .tcp = try mode().uri else { return nil }
            throw UsageProblem(
                "a tcp:// tunnel needs --key PATH, with the key that \"twinport key new\" made on "
                    + "the host")
        }
        do {
            return try TunnelKey(file: path)
        } catch {
            throw UsageProblem(error.description)
        }
    }

    private func uri(_ text: String) throws -> TunnelURI {
        do {
            return try TunnelURI(parsing: text)
        } catch {
            throw UsageProblem(error.description)
        }
    }
}

/// A command line that cannot be carried out.
private struct UsageProblem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
