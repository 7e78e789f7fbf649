package import Logging

/// Writes log lines through ``LogWriter``, in its style. Any thread.
package struct LineLogHandler: LogHandler {
    /// The lowest level that is written.
    package var logLevel: Logger.Level
    /// Pairs added to every line.
    package var metadata: Logger.Metadata = [:]

    /// Makes a handler that writes lines of `level` and above.
    package init(level: Logger.Level) {
        logLevel = level
    }

    /// A pair that is added to every line.
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line. A pair without a value is left out.
    package func log(event: LogEvent) {
        let pairs = metadata.merging(event.metadata ?? [:]) { $1 }
            .map { (key: $0.key, value: "\($0.value)") }
            .filter { !$0.value.isEmpty }
            .sorted { $0.key < $1.key }
        LogWriter.standardError.add(event.level, event.message.description, pairs)
    }
}
