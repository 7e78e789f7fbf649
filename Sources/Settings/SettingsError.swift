/// What is wrong with a settings file, and where.
package struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file, as it was named.
    package var file: String
    /// The line, from 1; 0 when the whole file is meant.
    package var line: Int
    /// The column, from 1.
    package var column: Int
    /// The key, as `guestToHost.bind`; empty when none is meant.
    package var key: String
    /// What is wrong, what was expected, and how to mend it.
    package var problem: String
    /// Whether the system refused to write the file, and nothing is wrong with what is in it.
    package var isWriteFailure = false

    /// `settings.yaml:7:9: guestToHost.bind: expected same or loopback, found "lan"`. Of what the file has, control
    /// characters are shown as a question mark: a terminal would obey them.
    package var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        let text = key.isEmpty ? "\(place): \(problem)" : "\(place): \(key): \(problem)"
        return String(String.UnicodeScalarView(text.unicodeScalars.map(Self.shown)))
    }

    private static func shown(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        switch scalar.properties.generalCategory {
        case .control where scalar != "\n", .format: "?"
        default: scalar
        }
    }
}
