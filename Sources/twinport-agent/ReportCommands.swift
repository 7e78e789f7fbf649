internal import AgentControl
internal import ArgumentParser
internal import Posix
internal import Reports
internal import TwinportKit

/// `twinport-agent status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the state of agent and tunnel.")

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws { try control.show(.status(json: json)) }
}

/// `twinport-agent ports`.
struct PortsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports", abstract: "List every listener, its mirror, and why not.")

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false
    @Option(
        help: ArgumentHelp(
            "Only these: KEY=VALUE,… with state, port, protocol, direction, container, process. "
                + "Default: all.",
            discussion: """
                As state=conflict,port=8000-8100,protocol=tcp,container=web*,process=nginx. A key that is given twice \
                means either.
                """,
            valueName: "conditions"))
    var filter: [String] = []
    @Option(
        help: "Sort by port, state, traffic or container. Default: direction, protocol and port.")
    var sort: String?

    func run() throws {
        var question = PortsQuestion()
        question.isJSON = json
        question.width = json ? nil : Console.outputColumns
        if let sort {
            guard let order = PortOrder(rawValue: sort) else {
                throw UsageProblem(PortOrder.problem(with: sort))
            }
            question.order = order
        }
        do {
            _ = try PortsReport(filter, question.order)
        } catch {
            throw UsageProblem("--filter: \(error)")
        }
        question.filter = filter.joined(separator: ",")
        try control.show(.ports(question))
    }
}

/// `twinport-agent explain`.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say what is up with one port, which mirror holds it, and what to do.",
        discussion: """
            Exit codes beside the usual ones: 0 a listener on the port is mirrored, 4 none is.
            """)

    @Argument(
        help: "The port, as 80, 80/tcp, 53/udp, :80 or 127.0.0.1:80, or a forward's unix:///PATH.")
    var port: String
    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        guard let question = PortQuestion(port) else {
            throw UsageProblem(PortQuestion.problem(with: port))
        }
        // An agent of any version says in JSON whether it is mirrored.
        let client = AgentClient(path: try control.path())
        let report = try client.ask(.explain(question, json: true))
        print(json ? report : try client.ask(.explain(question, json: false)))
        if !report.contains("\"mirrored\":true") { ThisProcess.end(4) }
    }
}

/// `twinport-agent doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look for what is wrong in the guest, and say what to do.",
        discussion: Diagnosis.legend)

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let version = Twinport.version
        let client = AgentClient(path: try control.path())
        let answer: String
        do throws(AgentControlError) {
            answer = try client.ask(.doctor(version: version, json: json))
        } catch {
            let diagnosis = Diagnosis(AgentFacts(agentError: error.description, version: version))
            answer =
                json ? try PlainJSON.text(diagnosis) : diagnosis.lines.joined(separator: "\n")
        }
        print(answer)
        if !Diagnosis.isHealthy(answer) { ThisProcess.end(1) }
    }
}
