public import Logging
public import Posix

extension Logger {
    /// A logger that writes key=value lines of `level` and above to standard error.
    public static func lines(_ label: String, level: Logger.Level) -> Logger {
        Logger(label: label, factory: { _ in LineLogHandler(level: level) })
    }

    /// The names of all levels, for help and errors.
    public static var levelNames: String {
        Level.allCases.map(\.rawValue).joined(separator: ", ")
    }

    /// Logs what a program gave up before it began; nil: it was told not to.
    public func note(_ sandbox: Sandbox.Result?) {
        guard let sandbox else { return warning("sandbox", metadata: ["state": "off"]) }
        info("sandbox", metadata: ["holds": "\(sandbox.holds.joined(separator: ","))"])
        for missing in sandbox.missing {
            info("sandbox", metadata: ["missing": "\(missing)"])
        }
    }
}
