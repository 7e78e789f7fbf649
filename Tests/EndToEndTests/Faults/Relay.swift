import Foundation

/// A tunnel that can be spoiled: `Programs/between/relay.py` between agent and helper.
final class Relay {
    private let lab: Lab
    private let orders: String
    private let program: Running

    /// Where the agent connects.
    let path: String

    /// Starts a relay.
    ///
    /// - Parameter order: What it does at first; see the program.
    init(_ lab: Lab, order: String = "pass") throws {
        self.lab = lab
        path = "\(lab.directory)/relay.sock"
        orders = "\(lab.directory)/relay.orders"
        try Data(order.utf8).write(to: URL(filePath: orders))
        program = try lab.python(.guest, "relay.py", [path, lab.tunnelPath, orders])
    }

    /// Changes what it does with the bytes from now on.
    func order(_ text: String) throws {
        try Data(text.utf8).write(to: URL(filePath: orders), options: .atomic)
        usleep(30_000)
    }

    /// How many tunnels it has cut.
    var cuts: Int { program.output.components(separatedBy: "cut\n").count - 1 }
}
