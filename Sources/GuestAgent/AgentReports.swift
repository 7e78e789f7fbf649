internal import AgentControl
internal import EventLoop
internal import Listeners
internal import Posix
internal import Reports
internal import TwinportKit
internal import TwinportModel

/// Answers the questions of the agent's local socket with what the node says. On the server's thread; blocks until
/// the data loop answers.
final class AgentReports: Sendable {
    private let node: Node
    private let tunnel: TunnelURI
    private let hasKey: Bool
    private let version: String
    private let finder: FinderProcess?
    private let seesAllProcesses: Bool
    private let startedAt = Loop.nanoseconds

    init(
        _ node: Node, tunnel: TunnelMode, hasKey: Bool, version: String, finder: FinderProcess?
    ) {
        self.node = node
        self.tunnel = tunnel.uri
        self.hasKey = hasKey
        self.version = version
        self.finder = finder
        seesAllProcesses = FinderProcess.seesAllProcesses(finder)
    }

    /// The answer to a line.
    func answer(_ line: String) -> Answer {
        guard let question = Question(line: line) else {
            return .problem("this agent (\(version)) does not know that question")
        }
        do {
            return .text(try text(question))
        } catch let error as NodeError {
            return .problem(error.description)
        } catch let error as PortFilter.Problem {
            return .problem("--filter: \(error)")
        } catch {
            return .problem("the answer cannot be written as JSON")
        }
    }

    private func text(_ question: Question) throws -> String {
        switch question {
        case .status(let json):
            let status = try status()
            return json
                ? try PlainJSON.text(status)
                : StatusText.lines(status).joined(separator: "\n")
        case .ports(let asked):
            let report = try PortsReport(asked.filter.isEmpty ? [] : [asked.filter], asked.order)
            let ports = try node.ports()
            if asked.isJSON { return try PlainJSON.text(report.rows(ports)) }
            return try report.text(ports, width: asked.width) { Outlook(try status()) }
        case .explain(let port, let json):
            let report = ExplainReport(
                port, ports: try node.ports(), outlook: Outlook(try status()))
            return json ? try PlainJSON.text(report) : report.text
        case .doctor(let version, let json):
            let diagnosis = Diagnosis(
                AgentFacts(status: try status(), ports: try node.ports(), version: version))
            return json
                ? try PlainJSON.text(diagnosis) : diagnosis.lines.joined(separator: "\n")
        }
    }

    private func status() throws(NodeError) -> AgentStatus {
        let state = try node.status()
        var status = AgentStatus()
        status.version = version
        status.pid = ThisProcess.processID
        status.tunnel = tunnel.description
        status.hasKey = hasKey
        status.seesAllProcesses = seesAllProcesses
        status.hasSocketAnswers = SocketAnswers.areThere
        status.tunnelWarning = TunnelAdvice.withoutKey(tunnel, hasKey: hasKey, role: .guest)
        status.host = state.peer
        status.sessionError =
            state.peer == nil ? state.trouble ?? "the host has not answered yet" : nil
        status.hints = state.hints.text
        status.clients = state.clients
        status.ownersError = finder?.problem
        status.published = state.published
        status.hostHints = state.peerHints?.text
        for (state, count) in state.states { status.states[state.name] = count }
        status.flows = state.flows
        status.uptimeSeconds = Int((Loop.nanoseconds &- startedAt) / 1_000_000_000)
        status.rssBytes = ThisProcess.residentBytes
        return status
    }
}
