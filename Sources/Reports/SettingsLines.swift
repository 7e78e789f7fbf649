internal import TwinportModel

/// Where in the settings file something stands, for messages. Pure.
package struct SettingsLines: Equatable, Sendable {
    /// The line of each key, as `guestToHost.only`, and of each port of a list, as `guestToHost.ignore: tcp/80`.
    private let lines: [String: Int]

    /// Takes the lines; without any, nothing is said of them.
    package init(_ lines: [String: Int] = [:]) { self.lines = lines }

    /// ` (line 12)`, or nothing where that is not known.
    func place(of key: String) -> String {
        lines[key].map { " (line \($0))" } ?? ""
    }

    /// The same of one of the ports of a list.
    func place(of rule: PortRule, in list: String) -> String {
        place(of: "\(list): \(rule)")
    }
}
