/// A line of a YAML file and what ends it, so that what marks name is found in files of any origin.
///
/// A line ends where libyaml says so, which is what its marks count: at CR LF, CR, LF, NEL, LS and PS. Swift takes
/// CR LF for one character, and none of the others but LF for an end.
struct TextLine {
    /// What marks count columns in.
    var units: [Unicode.Scalar]
    /// Empty for a last line without an end.
    var ending: String

    init(_ text: String, _ ending: String) {
        units = Array(text.unicodeScalars)
        self.ending = ending
    }

    private static let breaks: Set<Unicode.Scalar> = ["\r", "\n", "\u{85}", "\u{2028}", "\u{2029}"]

    /// All lines; after the last end none follows.
    static func lines(of text: String) -> [TextLine] {
        var lines: [TextLine] = []
        var line = TextLine("", "")
        var rest = text.unicodeScalars[...]
        while let unit = rest.popFirst() {
            guard breaks.contains(unit) else {
                line.units.append(unit)
                continue
            }
            line.ending = String(unit)
            if unit == "\r", rest.first == "\n" {
                rest.removeFirst()
                line.ending = "\r\n"
            }
            lines.append(line)
            line = TextLine("", "")
        }
        if !line.units.isEmpty { lines.append(line) }
        return lines
    }

    /// What the first line ends with, LF if nothing says otherwise.
    static func usualEnding(of lines: [TextLine]) -> String {
        lines.first.flatMap { $0.ending.isEmpty ? nil : $0.ending } ?? "\n"
    }

    /// The lines as they were.
    static func text(of lines: [TextLine]) -> String {
        var text = String.UnicodeScalarView()
        for line in lines {
            text.append(contentsOf: line.units)
            text.append(contentsOf: line.ending.unicodeScalars)
        }
        return String(text)
    }
}
