internal import TwinportModel

/// What colour says of a state; raw values are SGR codes (ECMA-48 §8.3.117).
enum Colour: String {
    case good = "32"
    case bad = "31"
    case undecided = "33"
    case faint = "2"

    init(_ state: MirrorState) {
        switch state {
        case .active: self = .good
        case .conflict, .denied, .limit: self = .bad
        case .pending, .unavailable: self = .undecided
        case .covered, .ignored, .unsupported, .disabled: self = .faint
        }
    }

    init(_ session: SessionState) { self = session == .up ? .good : .bad }

    /// `text` in this colour.
    func applied(to text: String) -> String { "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" }
}

/// Whether output may have colours.
package enum ColourRule {
    /// By no-color.org, an empty NO_COLOR forbids nothing. A dumb terminal shows the escape sequences themselves.
    package static func allows(isTerminal: Bool, noColor: String?, term: String?) -> Bool {
        isTerminal && (noColor ?? "").isEmpty && term != "dumb"
    }
}
