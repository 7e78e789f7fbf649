/// Text in the columns of a terminal. What the guest names itself and its processes is not ours: nothing of it may move
/// the cursor, and it takes the room that it is given.
enum ScreenText {
    /// So many scalars may share a place.
    private static let mostMarks = 4

    /// The same without what is no visible character of its own: controls, directions, marks without a letter.
    static func clean(_ text: String) -> String {
        if text.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) { return text }
        return String(text.map { character in isShown(character) ? character : "?" })
    }

    private static func isShown(_ character: Character) -> Bool {
        let scalars = character.unicodeScalars
        guard let first = scalars.first, scalars.count <= mostMarks else { return false }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .spacingMark: return false
        default: break
        }
        return scalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse,
                .unassigned:
                false
            default: true
            }
        }
    }

    /// How many columns a text takes.
    static func width(_ text: String) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        return text.reduce(0) { $0 + width($1) }
    }

    /// Unicode's East Asian Width, as far as it is wide.
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115f, 0x2e80...0x303e, 0x3041...0x4dbf, 0x4e00...0xa4cf, 0xa960...0xa97f,
        0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60, 0xffe0...0xffe6,
        0x1f300...0x1f64f, 0x1f680...0x1f6ff, 0x1f900...0x1f9ff, 0x20000...0x3fffd,
    ]

    private static func width(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first, first.value > 0x7f else { return 1 }
        let isWide =
            first.properties.isEmojiPresentation || wide.contains { $0.contains(first.value) }
        return isWide ? 2 : 1
    }

    /// The beginning of a text, in so many columns at most.
    static func prefix(_ text: String, _ columns: Int) -> String {
        var rest = columns
        return String(
            text.prefix { character in
                rest -= width(character)
                return rest >= 0
            })
    }

    /// A text in exactly so many columns: cut, with a mark, or padded.
    ///
    /// - Parameter fromMiddle: Whether the cut is in the middle, because the end tells more.
    static func fit(
        _ text: String, _ columns: Int, isRight: Bool = false, fromMiddle: Bool = false
    ) -> String {
        let width = width(text)
        if width <= columns {
            let gap = String(repeating: " ", count: columns - width)
            return isRight ? gap + text : text + gap
        }
        guard columns > 1 else { return String(repeating: "…", count: max(0, columns)) }
        // `:65535` and the bracket before it.
        let tail = fromMiddle ? String(text.suffix(min(7, columns - 2))) : ""
        let room = columns - 1 - self.width(tail)
        guard room > 0 else { return fit(text, columns) }
        let head = prefix(text, room)
        let gap = String(repeating: " ", count: room - self.width(head))
        return head + "…" + tail + gap
    }

    /// A text in lines of so many columns; its own lines stay, and longer words are broken.
    static func wrapped(_ text: String, _ columns: Int) -> [String] {
        let columns = max(columns, 10)
        return text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
            if width(String(line)) <= columns { return [String(line)] }
            let indent = String(line.prefix { $0 == " " })
            return wrapped(words: line.split(separator: " "), indent, columns)
        }
    }

    private static func wrapped(
        words: [Substring], _ indent: String, _ columns: Int
    ) -> [String] {
        var lines: [String] = []
        var line = indent
        var isEmpty = true
        for word in words {
            var word = String(word)
            if !isEmpty, width(line) + 1 + width(word) > columns {
                lines.append(line)
                (line, isEmpty) = (indent, true)
            }
            if !isEmpty { line += " " }
            while !word.isEmpty, width(line) + width(word) > columns {
                let part = prefix(word, max(1, columns - width(line)))
                lines.append(line + part)
                word.removeFirst(max(1, part.count))
                line = indent
            }
            line += word
            isEmpty = false
        }
        return lines + [line]
    }
}
