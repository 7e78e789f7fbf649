/// How a part of a line looks. Raw values are SGR codes (ECMA-48 §8.3.117).
enum ScreenStyle: String {
    case plain = ""
    case strong = "1"
    case faint = "2"
    case good = "32"
    case bad = "31"
    case undecided = "33"
    case reversed = "7"
}

/// One line of the screen.
struct ScreenLine: Equatable {
    private(set) var parts: [(text: String, style: ScreenStyle)]
    /// Whether all of it is shown in reverse, to its end.
    var isReversed = false

    init(_ text: String = "", _ style: ScreenStyle = .plain) {
        parts = [(text, style)]
    }

    init(_ parts: [(text: String, style: ScreenStyle)]) {
        self.parts = parts
    }

    static func == (one: ScreenLine, other: ScreenLine) -> Bool {
        one.isReversed == other.isReversed && one.parts.count == other.parts.count
            && zip(one.parts, other.parts).allSatisfy { $0.text == $1.text && $0.style == $1.style }
    }

    /// The text alone.
    var text: String { parts.map(\.text).joined() }

    /// A line with a text at its left and one at its right; the left one is cut.
    static func spread(
        _ left: String, _ right: String, _ columns: Int, _ style: ScreenStyle
    ) -> ScreenLine {
        let room = columns - ScreenText.width(right) - 1
        guard room > 10 else { return ScreenLine(ScreenText.fit(left, columns), style) }
        return ScreenLine(ScreenText.fit(left, room) + " " + right, style)
    }

    /// As a terminal is told.
    ///
    /// - Parameters:
    ///   - columns: What is beyond is cut.
    ///   - isColoured: Whether it knows colours.
    func escaped(_ columns: Int, isColoured: Bool) -> String {
        var rest = columns
        var text = ""
        for part in parts where rest > 0 {
            let cut = ScreenText.prefix(part.text, rest)
            rest -= ScreenText.width(cut)
            // A style's end would end the reverse, too.
            text += isReversed ? cut : Self.styled(cut, part.style, isColoured)
        }
        guard isReversed else { return text }
        return "\u{1b}[7m" + text + String(repeating: " ", count: max(0, rest)) + "\u{1b}[0m"
    }

    private static func styled(_ text: String, _ style: ScreenStyle, _ isColoured: Bool) -> String {
        let isColour = [.good, .bad, .undecided].contains(style)
        guard style != .plain, !text.isEmpty, isColoured || !isColour else { return text }
        return "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m"
    }
}

/// What is on the screen, and what a terminal has to be told to change it.
struct Screen {
    private var shown: [String] = []

    /// Takes over: another buffer, no cursor, no wrapping (xterm's private modes 1049, 25 and 7).
    static let begin = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[H\u{1b}[2J"
    /// Gives it back as it was.
    static let end = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"

    /// Forgets what is shown: the terminal changed, or something else wrote to it.
    mutating func forget() { shown = [] }

    /// What changes the screen to these lines; empty where nothing does.
    mutating func update(
        _ lines: [ScreenLine], columns: Int, rows: Int, isColoured: Bool
    ) -> String {
        let lines = lines.prefix(rows).map { $0.escaped(columns, isColoured: isColoured) }
        var text = shown.isEmpty ? "\u{1b}[2J" : ""
        for row in 0..<max(lines.count, min(shown.count, rows)) {
            let line = row < lines.count ? lines[row] : ""
            if row < shown.count, shown[row] == line { continue }
            text += "\u{1b}[\(row + 1);1H\u{1b}[K" + line
        }
        shown = lines
        return text
    }
}
