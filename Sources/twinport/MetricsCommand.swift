internal import ArgumentParser
internal import Control
internal import Reports

/// `twinport metrics`.
struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print the helper in figures, for Prometheus.",
        discussion: "The same as GET /metrics of the control socket.")

    @OptionGroup var control: ControlOption
    @Option(help: "How: openmetrics, or prometheus (its text format 0.0.4).")
    var format = "openmetrics"

    func run() throws {
        guard let format = MetricsFormat(rawValue: format) else {
            throw Problem(usage: "--format \(format): expected openmetrics or prometheus")
        }
        print(try control.client.metrics(format), terminator: "")
    }
}
