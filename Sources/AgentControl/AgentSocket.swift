internal import Posix

/// Where the agent's local socket is.
package enum AgentSocket {
    /// `/run/twinport-agent/agent.sock` for root, otherwise in `$XDG_RUNTIME_DIR/twinport-agent`, or in a folder in
    /// `/tmp` that is ours alone.
    package static var defaultPath: String {
        if ThisProcess.userID == 0 { return "/run/twinport-agent/agent.sock" }
        if let runtime = ThisProcess.environment("XDG_RUNTIME_DIR"), runtime.hasPrefix("/") {
            return "\(runtime)/twinport-agent/agent.sock"
        }
        return "/tmp/twinport-agent-\(ThisProcess.userID)/agent.sock"
    }
}

/// A local socket that cannot be made, or an agent that does not answer: in words, with what to do.
package struct AgentControlError: Error, Equatable, Sendable, CustomStringConvertible {
    /// In one line.
    package let description: String

    init(_ description: String) { self.description = description }
}
