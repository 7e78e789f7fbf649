internal import Logging
internal import Posix

/// How a log line is written.
package enum LogFormat: String, CaseIterable, Sendable {
    /// `level=info msg="mirror" state=active`.
    case logfmt
    /// `{"level":"info","msg":"mirror","state":"active"}`.
    case json

    /// The names of all, for help and errors.
    package static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

// One line per event on standard error:
//
//     time=2026-11-23T22:15:01.042Z level=info msg="mirror" kind=tcp listener=0.0.0.0:80 state=active
//
// Values are quoted where they must be; what a peer had a say in cannot start a new line or reach the terminal as a
// command. systemd's journal adds its own time, and takes the priority from the line: `<6>level=info …` (sd-daemon(3)).

/// What lines look like. Pure.
struct LogStyle: Sendable {
    private static let longestLine = 4_096
    private static let longestValue = 1_024

    /// The form.
    var format = LogFormat.logfmt
    /// Whether the journal reads the lines.
    var isForJournal = false

    /// A line without its end.
    ///
    /// - Parameter time: When it happened, as it is written.
    func line(
        _ level: Logger.Level, _ message: String, _ pairs: [(key: String, value: String)],
        time: @autoclosure () -> String
    ) -> String {
        var line = isForJournal ? "<\(Self.priority(level))>" : ""
        let first = isForJournal ? [] : [(key: "time", value: time())]
        let all = first + [("level", level.rawValue), ("msg", message)] + pairs
        switch format {
        case .logfmt:
            line += all.map { "\($0.key)=\(Self.quoted($0.value))" }.joined(separator: " ")
            // A character that is cut apart becomes three bytes.
            return String(decoding: line.utf8.prefix(Self.longestLine - 2), as: UTF8.self)
        case .json: return line + Self.json(all)
        }
    }

    /// The priority of syslog(3).
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// A value as logfmt has it: bare when that is unambiguous.
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

    /// One object, still whole where it had to be shortened: pairs that do not fit are left out, which `cut` tells.
    private static func json(_ pairs: [(key: String, value: String)]) -> String {
        var line = "{"
        for pair in pairs {
            let member = "\(text(pair.key)):\(text(pair.value))"
            guard line.utf8.count + member.utf8.count < longestLine - 16 else {
                return line + ",\"cut\":true}"
            }
            line += (line == "{" ? "" : ",") + member
        }
        return line + "}"
    }

    /// A string of JSON (RFC 8259 §7).
    private static func text(_ value: String) -> String {
        var result = "\""
        for scalar in value.unicodeScalars.prefix(longestValue) {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case _ where scalar.value < 32 || (127..<160).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
