/// How a table's columns share the width of a terminal. Where all of them do not fit, long texts go below their row, then cells
/// are cut, and where that is not enough, columns are left out.
struct TableFit {
    private static let gap = 2
    /// What stands in front of the lines below a row.
    private static let indent = "    "

    /// How narrow a column may become; one that is not here is never cut.
    var least: [Int: Int] = [:]
    /// Columns that go below their row as soon as the whole table does not fit.
    var below: [Int] = []
    /// What joins the cells of these.
    var joint = "; "
    /// Columns whose cells are told below their row where they are cut or left out, and how they are called there.
    var told: [(column: Int, name: String)] = []
    /// Columns whose cells are cut in the middle, because their ends tell more.
    var cutInTheMiddle: Set<Int> = []
    /// Which columns are left out, the first one first.
    var dropped: [Int] = []
    /// The terminal's columns; nil: nothing is cut.
    var width: Int?

    /// The same, for a terminal of so many columns.
    func within(_ width: Int?) -> TableFit {
        var fit = self
        fit.width = width
        return fit
    }

    /// The same, for a table with one more column in front, which is never left out.
    var afterColumn: TableFit {
        var fit = self
        fit.least = Dictionary(uniqueKeysWithValues: least.map { ($0.key + 1, $0.value) })
        fit.below = below.map { $0 + 1 }
        fit.told = told.map { (column: $0.column + 1, name: $0.name) }
        fit.cutInTheMiddle = Set(cutInTheMiddle.map { $0 + 1 })
        fit.dropped = dropped.map { $0 + 1 }
        return fit
    }

    /// The width of each column; nil for one that is left out.
    ///
    /// - Parameters:
    ///   - natural: How wide each would be.
    ///   - empty: Columns in which no row has anything: they go first.
    func widths(_ natural: [Int], empty: Set<Int> = []) -> [Int?] {
        guard let width else { return natural }
        let whole = natural.reduce(-Self.gap) { $0 + $1 + Self.gap }
        if whole <= width { return natural }
        let narrow = natural.enumerated().map { min($1, least[$0] ?? $1) }
        var kept = Set(natural.indices).subtracting(empty)
        let wide = kept.reduce(-Self.gap) { $0 + natural[$1] + Self.gap }
        if wide > width { kept.subtract(below) }
        func spare() -> Int {
            width - kept.reduce(-Self.gap) { $0 + narrow[$1] + Self.gap }
        }
        for column in dropped where spare() < 0 { kept.remove(column) }
        var widths = natural.indices.map { kept.contains($0) ? narrow[$0] : nil }
        // The narrowest first: what is left is shared alike.
        for _ in 0..<max(0, spare()) {
            let wanting = kept.filter { widths[$0] ?? 0 < natural[$0] }
            guard let column = wanting.min(by: { (widths[$0] ?? 0, $0) < (widths[$1] ?? 0, $1) })
            else { break }
            widths[column]? += 1
        }
        return widths
    }

    /// What does not fit into a row's line, in lines of its own.
    ///
    /// - Parameter widths: The columns'.
    func rest(of row: [String], _ widths: [Int?]) -> [String] {
        guard let width else { return [] }
        var parts = told.compactMap { column, name -> String? in
            let cell = row[column]
            if let width = widths[column], cell.count <= width { return nil }
            return cell == "-" ? nil : "\(name) \(cell)"
        }
        let moved = below.filter { widths[$0] == nil }.map { row[$0] }.filter { !$0.isEmpty }
        if !moved.isEmpty { parts.append(moved.joined(separator: joint)) }
        return Self.wrapped(parts.joined(separator: "; "), width - Self.indent.count)
            .map { Self.indent + $0 }
    }

    /// Where the columns are to be had that are not shown.
    func footnote(_ missing: String) -> [String] {
        guard let width, !missing.isEmpty else { return [] }
        return Self.wrapped("No room for \(missing): see --json, or add | cat.", width)
    }

    /// A text in lines of so many columns. A longer word is broken.
    private static func wrapped(_ text: String, _ width: Int) -> [String] {
        let width = max(10, width)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
            while line.count > width {
                lines.append(String(line.prefix(width)))
                line = String(line.dropFirst(width))
            }
        }
        return line.isEmpty ? lines : lines + [line]
    }

    /// Which columns are left out and told nowhere.
    func missing(_ widths: [Int?]) -> [Int] {
        widths.indices.filter { column in
            widths[column] == nil && !below.contains(column)
                && !told.contains { $0.column == column }
        }
    }

    /// A cell in so many columns.
    func cut(_ cell: String, to width: Int, column: Int) -> String {
        guard cell.count > width, width > 1 else { return cell }
        guard cutInTheMiddle.contains(column) else { return cell.prefix(width - 1) + "…" }
        // `:65535` and the bracket before it.
        let tail = min(7, width - 1)
        return cell.prefix(width - 1 - tail) + "…" + cell.suffix(tail)
    }
}

/// Columns that line up. The last column is not padded.
struct TextTable {
    private var rows: [[String]]
    private let rightAligned: Set<Int>

    init(header: [String], rightAligned: Set<Int>) {
        rows = [header]
        self.rightAligned = rightAligned
    }

    mutating func add(_ row: [String]) {
        rows.append(row)
    }

    /// The lines; `decorate` may colour a finished cell, given its row (0 is the header) and column.
    func lines(
        _ fit: TableFit = TableFit(),
        decorate: (String, Int, Int) -> String = { cell, _, _ in cell }
    ) -> String {
        let empty = Set(
            rows[0].indices.filter { column in
                rows.count > 1 && rows.dropFirst().allSatisfy { ["", "-"].contains($0[column]) }
            })
        let widths = fit.widths(
            rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 },
            empty: empty)
        var lines = rows.enumerated().flatMap { index, row in
            [line(row, widths, fit) { decorate($0, index, $1) }]
                + (index == 0 ? [] : fit.rest(of: row, widths))
        }
        let missing = fit.missing(widths).filter { !empty.contains($0) }.map { rows[0][$0] }
            .joined(separator: ", ")
        lines += fit.footnote(missing)
        return lines.joined(separator: "\n")
    }

    private func line(
        _ row: [String], _ widths: [Int?], _ fit: TableFit, decorate: (String, Int) -> String
    ) -> String {
        let last = widths.lastIndex { $0 != nil }
        return row.enumerated().compactMap { column, cell in
            guard let width = widths[column] else { return nil }
            let cell = fit.cut(cell, to: width, column: column)
            let gap = String(repeating: " ", count: max(0, width - cell.count))
            let padded =
                rightAligned.contains(column) ? gap + cell : cell + (column == last ? "" : gap)
            return decorate(padded, column)
        }.joined(separator: "  ")
    }
}
