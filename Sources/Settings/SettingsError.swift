/// What is wrong with a settings file, and where.
public struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file, as it was named.
    public var file: String
    /// The line, from 1; 0 when the whole file is meant.
    public var line: Int
    /// The column, from 1.
    public var column: Int
    /// The key, as `guestToHost.bind`; empty when none is meant.
    public var key: String
    /// What is wrong, what was expected, and how to mend it.
    public var problem: String

    /// `settings.yaml:7:9: guestToHost.bind: expected same or loopback, found "lan"`.
    public var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return key.isEmpty ? "\(place): \(problem)" : "\(place): \(key): \(problem)"
    }
}
