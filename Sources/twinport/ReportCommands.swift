internal import ArgumentParser
internal import Control
internal import Reports
internal import Settings
internal import TwinportModel

/// `twinport status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the state of helper, tunnel and guest.")

    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        if json, guest.guest == nil { return print(try control.client.text("status")) }
        let status = try control.status(guest)
        if json { return print(try JSONText.text(status)) }
        for line in StatusText.lines(status, isColoured: Terminal.usesColour) { print(line) }
    }
}

/// `twinport flows`.
struct FlowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "List every forwarded connection.")

    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        if json, guest.guest == nil { return print(try control.client.text("flows")) }
        try guest.check(try control.client.status())
        let flows = try control.client.flows().filter { guest.covers($0.guest) }
        if json { return print(try JSONText.text(flows)) }
        print(flows.isEmpty ? "No flows." : FlowsTable.text(flows, width: Terminal.width))
    }
}

/// `twinport explain`.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say what is up with one port, and what to do.",
        discussion: """
            Exit codes beside the usual ones: 0 a listener on the port is mirrored, 4 none is.
            """)

    @Argument(
        help: "The port, as 80, 80/tcp, 53/udp, :80 or 127.0.0.1:80, or a forward's unix:///PATH.")
    var port: String
    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        guard let question = PortQuestion(port) else {
            throw Problem(usage: PortQuestion.problem(with: port))
        }
        let status = try control.status(guest)
        let ports = try control.client.ports().filter { guest.covers($0.guest) }
        let report = ExplainReport(question, ports: ports, guests: Outlook.withFile(status))
        print(json ? try JSONText.text(report) : report.text)
        if !report.mirrored { throw ExitCode(4) }
    }
}

extension ControlOption {
    /// What holds for all ports, with hints for this user.
    var outlook: Outlook {
        get throws { Outlook(try client.status(), defaultSettings: Places.settings) }
    }
}
