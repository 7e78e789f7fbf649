internal import Yams

extension SettingsError {
    /// What Yams says of text that is not YAML.
    init(_ error: YamlError, in text: String, file: String) {
        var place: SyntaxProblem.Place?
        var problem: String
        switch error {
        case .scanner(let context, let words, let mark, _),
            .parser(let context, let words, let mark, _),
            .composer(let context, let words, let mark, _):
            let found = SyntaxProblem.place(of: words, at: mark, in: text)
            place = found
            problem = SyntaxProblem.words(words, at: found, context?.mark, in: text).text
            if let tab = SyntaxProblem.tab(in: text, at: mark) {
                place = tab
                problem = "not YAML: a tab; use spaces to indent"
            }
        case .duplicatedKeysInMapping(let duplicates, let context):
            let key = duplicates.first ?? ""
            let first = SyntaxProblem.Place(context.mark)
            place = SyntaxProblem.second(key, after: first, in: text) ?? first
            problem =
                "the key \(duplicates.joined(separator: ", ")) is there twice; delete one of them"
        case .reader(let words, let offset, _, _):
            place = offset.flatMap { SyntaxProblem.place(ofCharacter: $0, in: text) }
            problem = SyntaxWords(problem: words, rest: [], before: [], beginning: nil).text
        default:
            problem = "not YAML"
        }
        self.init(
            file: file, line: place?.line ?? 0, column: place?.column ?? 0, key: "",
            problem: problem)
    }
}

/// Finds in the text what the parser's own words and marks leave out.
private enum SyntaxProblem {
    /// A line and a column, from 1, as the parser's marks have them.
    struct Place {
        var line: Int
        var column: Int

        init(_ mark: Mark) { self.init(mark.line, mark.column) }

        init(_ line: Int, _ column: Int) {
            self.line = line
            self.column = column
        }
    }

    /// How many lines are tried at most: each is parsed with all before it.
    private static let mostLines = 200

    /// Where to point: at a character that YAML takes for the beginning of something, not behind it.
    static func place(of problem: String, at mark: Mark, in text: String) -> Place {
        let isBehind = problem.contains("alphabetic or numeric") && mark.column > 1
        return Place(mark.line, mark.column - (isBehind ? 1 : 0))
    }

    /// The line and column of a character of the text.
    static func place(ofCharacter offset: Int, in text: String) -> Place? {
        let lines = TextLine.lines(of: text.prefix(max(0, offset)) + "|")
        return lines.last.map { Place(lines.count, $0.units.count) }
    }

    /// What is wrong there.
    static func words(
        _ problem: String, at place: Place, _ context: Mark?, in text: String
    ) -> SyntaxWords {
        let lines = TextLine.lines(of: text)
        var (before, rest): ([Unicode.Scalar], [Unicode.Scalar]?) = ([], nil)
        if lines.indices.contains(place.line - 1) {
            let units = lines[place.line - 1].units
            before = Array(units.prefix(place.column - 1))
            rest = Array(units.dropFirst(place.column - 1))
        }
        let beginning = context.map { "line \($0.line), column \($0.column)" }
        return SyntaxWords(problem: problem, rest: rest, before: before, beginning: beginning)
    }

    /// The tab that the parser stumbled over: before the first word of its line, or right where it stopped.
    static func tab(in text: String, at mark: Mark) -> Place? {
        let lines = TextLine.lines(of: text)
        guard lines.indices.contains(mark.line - 1) else { return nil }
        let units = lines[mark.line - 1].units
        let indent = units.prefix { $0 == " " || $0 == "\t" }
        if let tab = indent.firstIndex(of: "\t") { return Place(mark.line, tab + 1) }
        let isThere = units.indices.contains(mark.column - 1) && units[mark.column - 1] == "\t"
        return isThere ? Place(mark) : nil
    }

    /// Where `key` stands the second time. The parser tells only where it stands first; so a line with the key is sought that
    /// makes the text up to there wrong.
    static func second(_ key: String, after first: Place, in text: String) -> Place? {
        let lines = TextLine.lines(of: text)
        let wanted = Array(key.unicodeScalars)
        guard !wanted.isEmpty else { return nil }
        var tried = 0
        for (index, line) in lines.enumerated().dropFirst(first.line - 1) {
            guard let column = lastPlace(of: wanted, in: line.units) else { continue }
            tried += 1
            if tried > mostLines { return nil }
            // Whole, for a mapping in braces; and no further than the key, whose value may span lines.
            var untilKey = line
            untilKey.units = line.units[..<(column + wanted.count)] + [":"]
            for last in [line, untilKey] where isDuplicated(key, in: lines[..<index] + [last]) {
                return Place(index + 1, column + 1)
            }
        }
        return nil
    }

    private static func lastPlace(
        of wanted: [Unicode.Scalar], in units: [Unicode.Scalar]
    ) -> Int? {
        guard units.count >= wanted.count else { return nil }
        return (0...(units.count - wanted.count)).last { start in
            units[start..<(start + wanted.count)].elementsEqual(wanted)
                && isKey(units[(start + wanted.count)...])
        }
    }

    /// Whether what follows makes a key of a word: a colon, after a closing quote and spaces.
    private static func isKey(_ rest: ArraySlice<Unicode.Scalar>) -> Bool {
        rest.drop { $0 == "\"" || $0 == "'" || $0 == " " }.first == ":"
    }

    private static func isDuplicated(_ key: String, in lines: [TextLine]) -> Bool {
        do {
            _ = try Yams.compose(yaml: TextLine.text(of: lines))
            return false
        } catch YamlError.duplicatedKeysInMapping(let duplicates, _) {
            return duplicates.contains(key)
        } catch {
            return false
        }
    }
}
