/// What is not in force of a settings file that was read again.
package enum SettingsFault: String, Codable, Sendable {
    /// Nothing of it: it cannot be read or understood. What was in force before stays so.
    case file
    /// A tunnel that cannot be opened, by its address or its key. The rest of the file is in force.
    case tunnel

    /// For the log.
    package var message: String {
        switch self {
        case .file: "settings not applied"
        case .tunnel: "settings applied, except for a tunnel that cannot be opened"
        }
    }

    /// What a report says before the error itself.
    ///
    /// - Parameter name: A raw value; other words, and nil, are those of an older helper, which tells the two apart by
    ///   nothing.
    static func words(_ name: String?) -> String {
        switch name.flatMap(Self.init(rawValue:)) {
        case .tunnel: "in force, except for a tunnel that cannot be opened"
        case .file, nil: "not in force"
        }
    }
}
