internal import ArgumentParser
internal import Control
internal import Reports
internal import TwinportModel

/// `twinport ports`.
struct PortsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports", abstract: "List every listener, its mirror, and why not.")

    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Flag(help: "Print JSON.") var json = false
    @Option(
        help: ArgumentHelp(
            "Only these: KEY=VALUE,… with state, port, protocol, direction, container, process, guest.",
            discussion: """
                As state=conflict,port=8000-8100,protocol=tcp,container=web*,process=nginx. A key that is given twice \
                means either.
                """,
            valueName: "conditions"))
    var filter: [String] = []
    @Option(help: "Sort by port, state, traffic or container.") var sort: String?

    func run() throws {
        let report = try report()
        if json, filter.isEmpty, sort == nil, guest.guest == nil {
            return print(try control.client.text("ports"))
        }
        try guest.check(try control.client.status())
        let ports = try control.client.ports().filter { guest.covers($0.guest) }
        if json { return print(try JSONText.text(report.rows(ports))) }
        let text = try report.text(
            ports, isColoured: Terminal.usesColour, width: Terminal.width
        ) { try control.outlook }
        print(text)
    }

    private func report() throws -> PortsReport {
        let order = sort.map { PortOrder(rawValue: $0) }
        if let sort, case .some(nil) = order {
            throw Problem(usage: PortOrder.problem(with: sort))
        }
        do {
            return try PortsReport(filter, order ?? nil)
        } catch {
            throw Problem(usage: "--filter: \(error)")
        }
    }
}
