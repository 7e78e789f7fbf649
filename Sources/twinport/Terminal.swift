internal import Posix

/// What the terminal is told, and what it can take.
enum Terminal {
    /// Colours are for people: only on a terminal, and not where NO_COLOR is set (no-color.org).
    static let usesColour: Bool = {
        Machine.environment("NO_COLOR") == nil && Machine.isOutputTerminal
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
}
