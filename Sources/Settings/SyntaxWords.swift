/// What is wrong with text that is not YAML, in words: what stands there, what was expected, and how to mend it. The parser's
/// own words are about its insides.
struct SyntaxWords {
    /// What the parser says.
    let problem: String
    /// What stands from the place of the problem on, to the end of the line; nil: the file ends there.
    let rest: [Unicode.Scalar]?
    /// What stands in front of it in the line.
    let before: [Unicode.Scalar]
    /// Where the thing begins that the parser was reading, as `line 2, column 9`; nil: it does not tell.
    let beginning: String?

    /// Characters that mean something to YAML at the beginning of a value, and what.
    private static let meanings: [Unicode.Scalar: String] = [
        "*": "takes for an alias", "&": "takes for an anchor", "!": "takes for a tag",
        "@": "reserves for itself",
        "`": "reserves for itself", "%": "takes for a directive",
        "|": "takes for a text of several lines",
        ">": "takes for a text of several lines",
    ]

    /// In one line.
    var text: String { "not YAML: \(words)" }

    private var words: String {
        if let special { return special }
        switch problem {
        case let problem where problem.contains("mapping values are not allowed"):
            return
                "a second colon, or a key that is indented more than the one above; expected one "
                + "KEY: VALUE a line: put a text with \": \" in quotes, and begin each key in a line of its own"
        case let problem where problem.contains("unexpected end of stream"):
            return "the quote\(from) has no end; close it with the same kind of quote"
        case "did not find expected ',' or '}'": return open("{", "}")
        case "did not find expected ',' or ']'": return open("[", "]")
        case "did not find expected key":
            return
                "found \(found); expected a key in the same column as the first one of its section"
                + "\(from), as KEY: VALUE; correct the spaces in front of it, or put the whole value in quotes"
        case "could not find expected ':'":
            return
                "the line above ends without a colon; expected KEY: VALUE, or \"- \" before an item of a list"
        case "did not find expected '-' indicator":
            return
                "found \(found); expected \"- \" before another item of the list\(from): a file is "
                + "keys or a list, and settings are keys"
        case let problem where problem.contains("another document"):
            return "a second document begins here; expected one: delete this line"
        case let problem where problem.contains("escape") || problem.contains("decimal number"):
            return
                "a backslash in double quotes begins an escape, and this is none; write \\\\, or use "
                + "single quotes"
        case let problem where problem.contains("control characters"):
            return "a control character; expected text: delete it"
        default:
            return
                "found \(found); expected a key, a value or a list; put a text that has other characters than "
                + "letters and digits in quotes (\(problem))"
        }
    }

    /// A character that means something else to YAML than to us, right there or one before.
    private var special: String? {
        var whole = rest ?? []
        if let last = before.last, Self.meanings[last] != nil, problem.contains("alphabetic") {
            whole.insert(last, at: 0)
        }
        guard let first = whole.first, let meaning = Self.meanings[first],
            !problem.contains("end of stream"), !problem.hasPrefix("did not find expected ',' or")
        else { return nil }
        let word = Self.word(whole)
        guard word.count > 1 else {
            return
                "a lone \(word), which YAML \(meaning); expected a value: put it in quotes, as \"\(word)\""
        }
        return
            "\(word) begins with \(first), which YAML \(meaning); expected text: put it in quotes, as "
            + "\"\(word)\""
    }

    private func open(_ opening: String, _ closing: String) -> String {
        "the \(opening)\(from) has no end before this; expected , or \(closing), found \(found); close it with "
            + "\(closing), or put a text with { } [ ] or , in quotes"
    }

    private var from: String { beginning.map { " of \($0)" } ?? "" }

    private var found: String {
        guard let rest else { return "the end of the file" }
        let word = Self.word(rest)
        return word.isEmpty ? "the end of the line" : "\"\(word)\""
    }

    /// The first word.
    private static func word(_ units: [Unicode.Scalar]) -> String {
        let word = units.drop { $0 == " " || $0 == "\t" }.prefix {
            !" \t,]}#\"".unicodeScalars.contains($0)
        }
        let found = word.isEmpty ? units.drop { $0 == " " || $0 == "\t" }.prefix(1) : word
        return String(String.UnicodeScalarView(found.prefix(60)))
    }
}
