public import Logging

extension Logger {
    /// A logger that writes key=value lines of `level` and above to standard error.
    public static func lines(_ label: String, level: Logger.Level) -> Logger {
        Logger(label: label, factory: { _ in LineLogHandler(level: level) })
    }

    /// The names of all levels, for help and errors.
    public static var levelNames: String {
        Level.allCases.map(\.rawValue).joined(separator: ", ")
    }
}
