internal import AgentControl
internal import ArgumentParser
internal import ProgramSupport

/// A command line that cannot be carried out.
struct UsageProblem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// `--control`, for the agent and for every command that asks it.
struct ControlOption: ParsableArguments {
    @Option(
        help: """
            The agent's local socket. Default: /run/twinport-agent/agent.sock \
            for root, else $XDG_RUNTIME_DIR/twinport-agent/agent.sock.
            """)
    var control: String?

    /// The socket's path.
    func path() throws -> String {
        guard let control else { return AgentSocket.defaultPath }
        do {
            return try ControlPath.absolute(control)
        } catch {
            throw UsageProblem(error.description)
        }
    }

    /// Asks the agent, and prints what it says.
    func show(_ question: Question) throws {
        print(try AgentClient(path: path()).ask(question))
    }
}
