#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What the terminal is told, and what it can take.
enum Terminal {
    /// Colours are for people: only on a terminal, and not where NO_COLOR is set (no-color.org).
    static let usesColour: Bool = {
        guard unsafe getenv("NO_COLOR") == nil else { return false }
        return isatty(STDOUT_FILENO) == 1
    }()

    static func coloured(_ text: String, state: String) -> String {
        guard usesColour else { return text }
        let code =
            switch state {
            case "active", "up": "32"
            case "conflict", "denied", "limit", "down": "31"
            case "pending", "unavailable": "33"
            default: "2"
            }
        return "\u{1b}[\(code)m\(text)\u{1b}[0m"
    }

    /// Writes one line to standard error.
    static func complain(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        // Nobody can be told that this failed.
        _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
