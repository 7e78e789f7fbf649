internal import TwinportModel

/// Where in the settings file something stands, for messages. Pure.
package struct SettingsLines: Equatable, Sendable {
    /// The line of each key, as `guestToHost.only`, and of each port of a list, as `guestToHost.ignore: tcp/80`.
    private let lines: [String: Int]
    private let prefix: String

    /// Takes the lines; without any, nothing is said of them.
    ///
    /// - Parameter guest: The guest whose part of the file goes before what holds for all.
    package init(_ lines: [String: Int] = [:], guest: String = "") {
        self.lines = lines
        prefix = guest.isEmpty ? "" : "guests[\(guest)]."
    }

    /// ` (line 12)`, or nothing where that is not known.
    func place(of key: String) -> String {
        (lines[prefix + key] ?? lines[key]).map { " (line \($0))" } ?? ""
    }

    /// The same of one of the ports of a list.
    func place(of rule: PortRule, in list: String) -> String {
        place(of: "\(list): \(rule)")
    }
}
