/// A column of a table on the screen.
struct ScreenColumn {
    let title: String
    /// How narrow it may become.
    let least: Int
    /// How wide it becomes at most.
    let most: Int
    /// In which order columns give way: the lowest first; nil: never.
    let rank: Int?
    var isRight = false
    var isCutInTheMiddle = false
}

/// A cell and how it looks.
struct ScreenCell {
    let text: String
    let style: ScreenStyle

    init(_ text: String, _ style: ScreenStyle = .plain) {
        self.text = ScreenText.clean(text)
        self.style = style
    }

    /// Whether it says anything.
    var isEmpty: Bool { text.isEmpty || text == "-" }
}

/// Rows that are shown below a line of titles, as wide as there is room.
struct ScreenTable {
    private static let gap = 2

    let columns: [ScreenColumn]
    let rows: [[ScreenCell]]

    /// The width of each column; nil for one that is not shown.
    func widths(_ room: Int) -> [Int?] {
        let natural = columns.indices.map { index in
            let cells = rows.map { ScreenText.width($0[index].text) }.max() ?? 0
            let title = ScreenText.width(columns[index].title)
            return min(max(cells, title, columns[index].least), columns[index].most)
        }
        // What no row has needs no column.
        var kept = columns.indices.filter { index in
            columns[index].rank == nil || rows.contains { !$0[index].isEmpty }
        }
        func spare() -> Int {
            room - kept.reduce(-Self.gap) { $0 + columns[$1].least + Self.gap }
        }
        let order = kept.filter { columns[$0].rank != nil }
            .sorted { (columns[$0].rank ?? 0, $1) < (columns[$1].rank ?? 0, $0) }
        for index in order where spare() < 0 { kept.removeAll { $0 == index } }
        var widths = columns.indices.map { kept.contains($0) ? columns[$0].least : nil }
        // The narrowest first: what is left is shared alike.
        for _ in 0..<max(0, spare()) {
            let wanting = kept.filter { widths[$0] ?? 0 < natural[$0] }
            guard let index = wanting.min(by: { (widths[$0] ?? 0, $0) < (widths[$1] ?? 0, $1) })
            else { break }
            widths[index]? += 1
        }
        return widths
    }

    /// The titles, and a line for each row.
    func lines(_ room: Int) -> (titles: ScreenLine, rows: [ScreenLine]) {
        let widths = widths(room)
        let titles = columns.map { ScreenCell($0.title, .strong) }
        return (line(titles, widths), rows.map { line($0, widths) })
    }

    private func line(_ cells: [ScreenCell], _ widths: [Int?]) -> ScreenLine {
        let last = widths.lastIndex { $0 != nil }
        var parts: [(text: String, style: ScreenStyle)] = []
        for (index, cell) in cells.enumerated() {
            guard let width = widths[index] else { continue }
            let column = columns[index]
            let text = ScreenText.fit(
                cell.text, width, isRight: column.isRight, fromMiddle: column.isCutInTheMiddle)
            parts.append((text, cell.style))
            if index != last { parts.append((String(repeating: " ", count: Self.gap), .plain)) }
        }
        return ScreenLine(parts)
    }
}
