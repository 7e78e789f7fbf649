internal import ArgumentParser
internal import Control

/// `twinport status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show whether and how it works.")

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        if json { return print(try control.client.text("status")) }
        let status = try control.client.status()
        for line in StatusText.lines(status) { print(line) }
    }
}

/// `twinport ports`.
struct PortsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports", abstract: "List every listener, its mirror, and why not.")

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        if json { return print(try control.client.text("ports")) }
        let ports = try control.client.ports()
        if ports.isEmpty { return print(try emptyText()) }
        print(PortsTable.text(ports))
    }

    private func emptyText() throws -> String {
        let status = try control.client.status()
        if !status.enabled { return "No listeners. Host networking is off: twinport enable" }
        if status.session != "up" {
            return "No listeners. \(status.sessionError ?? "The tunnel is down.")"
        }
        return "No listeners, in the guest or on the host."
    }
}

/// `twinport flows`.
struct FlowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "List every forwarded connection.")

    @OptionGroup var control: ControlOption
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        if json { return print(try control.client.text("flows")) }
        let flows = try control.client.flows()
        print(flows.isEmpty ? "No flows." : FlowsTable.text(flows))
    }
}

/// `twinport explain`.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say what is up with one port, and what to do.")

    @Argument(help: "The port, as 80, 80/tcp or 53/udp.") var port: String
    @OptionGroup var control: ControlOption

    func run() throws {
        let parts = port.split(separator: "/", omittingEmptySubsequences: false)
        guard let number = parts.first.flatMap({ UInt16($0) }), number > 0, parts.count <= 2,
            parts.count == 1 || ["tcp", "udp"].contains(parts[1])
        else {
            throw Problem(usage: "\"\(port)\" is not a port: expected 80, 80/tcp or 53/udp")
        }
        let ports = try control.client.ports()
        let status = try control.client.status()
        print(
            Explanation.text(
                port: number, protocol: parts.count == 2 ? String(parts[1]) : nil, ports: ports,
                status: status))
    }
}
