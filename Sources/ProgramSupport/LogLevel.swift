package import Listeners
package import Logging
package import Posix

extension Logger {
    /// A logger that writes lines of `level` and above to standard error.
    package static func lines(
        _ label: String, level: Logger.Level, format: LogFormat = .logfmt
    ) -> Logger {
        LogWriter.standardError.use(
            LogStyle(format: format, isForJournal: Console.isErrorJournal))
        return Logger(label: label, factory: { _ in LineLogHandler(level: level) })
    }

    /// The names of all levels, for help and errors.
    package static var levelNames: String {
        Level.allCases.map(\.rawValue).joined(separator: ", ")
    }

    /// Says it if the process that looks into others ends.
    package func watch(_ finder: FinderProcess?) {
        finder?.whenEnded {
            warning(
                "owners of sockets are not known any more",
                metadata: ["reason": "\(finder?.problem ?? "twinport-finder ended")"])
        }
    }

    /// Logs what a program gave up before it began; nil: it was told not to.
    package func note(_ sandbox: Sandbox.Result?) {
        guard let sandbox else { return warning("sandbox", metadata: ["state": "off"]) }
        info("sandbox", metadata: ["holds": "\(sandbox.holds.joined(separator: ","))"])
        for missing in sandbox.missing {
            info("sandbox", metadata: ["missing": "\(missing)"])
        }
    }
}
