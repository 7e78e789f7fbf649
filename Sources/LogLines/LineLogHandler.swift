public import Logging
internal import Posix

// One line per event on standard error:
//
//     time=2026-11-23T22:15:01.042Z level=info msg="mirror" kind=tcp listener=0.0.0.0:80 state=active
//
// Values are quoted where they must be; what a peer had a say in cannot start a new line or reach the
// terminal as a command. Without `time` where systemd's journal adds its own.

/// Writes log lines as key=value. Any thread; each line leaves in one write(2).
public struct LineLogHandler: LogHandler {
    /// The lowest level that is written.
    public var logLevel: Logger.Level
    /// Pairs added to every line.
    public var metadata: Logger.Metadata = [:]
    private let writesTime: Bool
    private static let longestLine = 4_096

    /// Makes a handler that writes lines of `level` and above.
    public init(level: Logger.Level) {
        logLevel = level
        writesTime = Machine.environment("JOURNAL_STREAM") == nil
    }

    /// A pair that is added to every line.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line.
    public func log(event: LogEvent) {
        var line = writesTime ? "time=\(Timestamp.now()) " : ""
        line += "level=\(event.level.rawValue) msg=\(Self.quoted(event.message.description))"
        let pairs = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in pairs.sorted(by: { $0.key < $1.key }) {
            let text = "\(value)"
            if !text.isEmpty { line += " \(key)=\(Self.quoted(text))" }
        }
        Machine.complain(String(decoding: line.utf8.prefix(Self.longestLine), as: UTF8.self))
    }

    /// A value as it is written: bare when that is unambiguous.
    static func quoted(_ text: String) -> String {
        let isBare =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                byte > 32 && byte < 127 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=")
            }
        if isBare { return text }
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case _ where scalar.value < 32 || (127..<160).contains(scalar.value): result += "?"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// The time as RFC 3339 in UTC, by arithmetic: the calendar of Foundation would cost the agent 40 MB.
enum Timestamp {
    static func now() -> String {
        let milliseconds = Machine.wallClock
        return text(seconds: milliseconds / 1_000, milliseconds: milliseconds % 1_000)
    }

    static func text(seconds: Int, milliseconds: Int) -> String {
        let (year, month, day) = civil(days: seconds / 86_400)
        let rest = seconds % 86_400
        return "\(year)-\(pad(month))-\(pad(day))T\(pad(rest / 3_600)):\(pad(rest / 60 % 60)):"
            + "\(pad(rest % 60)).\(pad(milliseconds, 3))Z"
    }

    /// Days since 1970 as a date of the Gregorian calendar, in eras of 400 years that begin in March.
    private static func civil(days: Int) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func pad(_ number: Int, _ width: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
