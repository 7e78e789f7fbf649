internal import ArgumentParser
internal import Control
internal import Live
internal import Posix
internal import Reports
internal import TwinportModel

/// `twinport top`.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show listeners, flows and their rates, live.",
        discussion: """
            On a terminal it takes the whole screen: ? shows the keys, q ends it. Without a terminal, or with TERM=dumb, \
            it prints one table after the other.
            """)

    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Option(help: "Seconds between two looks, from 0.2 to 3600.") var interval = 1.0
    @Option(help: "End after so many looks. Default: when it is told to.") var count: Int?
    @Option(help: "Sort by rate, port, state, traffic or container.")
    var sort = TopOrder.rate.rawValue
    @Option(
        help: ArgumentHelp(
            "Only these: words that a row must have, or KEY=VALUE,… as of ports. Default: all.",
            valueName: "text"))
    var filter = ""

    func run() throws {
        guard (0.2...3_600).contains(interval) else {
            throw Problem(usage: "--interval \(interval): expected seconds from 0.2 to 3600")
        }
        if let count, count < 1 { throw Problem(usage: "--count \(count): expected 1 or more") }
        guard let order = TopOrder(rawValue: sort) else {
            throw Problem(usage: TopOrder.problem(with: sort))
        }
        if filter.contains("=") {
            do {
                _ = try PortFilter([filter])
            } catch {
                throw Problem(usage: "--filter: \(error)")
            }
        }
        try guest.check(try control.client.status())
        var options = TopOptions(
            try control.client, interval: UInt64(interval * 1_000),
            state: TopState(order: order, filter: filter)
        ) { Outlook.withFile($0) }
        options.count = count
        options.guest = guest.guest
        options.isColoured = Terminal.usesColour
        options.hasScreen = Terminal.hasScreen
        options.columns = Terminal.width
        let code = try TopProgram.run(options)
        ThisProcess.end(code)
    }
}
