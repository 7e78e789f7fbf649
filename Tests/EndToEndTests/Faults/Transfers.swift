import Foundation
import Testing

/// Four checked transfers, both directions of a listener on either machine: `Programs/namespaces/transfers.py`.
struct Transfers {
    private let program: Running

    /// Starts them and waits until bytes flow in all four.
    ///
    /// - Parameter amount: Seconds, or bytes when above 1,000.
    init(_ lab: Lab, _ amount: Int) throws {
        program = try lab.start(
            .host,
            [Lab.path(of: "python3"), "-u", Lab.program("transfers.py")]
                + [lab.namespace(.host), lab.namespace(.guest)]
                + ["\(SharedLab.ports(2))", "\(amount)"])
        let program = self.program
        try lab.wait("the transfers to flow", within: 25) {
            program.output.contains("ready") || !program.isRunning
        }
        #expect(program.isRunning, "\(program.output)")
    }

    /// Whether they still run.
    var areRunning: Bool { program.isRunning }

    /// Waits until all have ended and expects how: `whole`, or `reset` before all bytes were there.
    func expect(_ how: String, within seconds: Double) throws {
        let output = try program.wait(within: seconds).output
        let lines = output.split(separator: "\n").filter { $0.contains("listener/") }
        #expect(lines.count == 4, "\(output)")
        for line in lines { #expect(line.split(separator: " ")[1] == how, "\(line)") }
    }
}
