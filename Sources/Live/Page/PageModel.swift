package import Reports
package import TwinportModel

// # What browsers are told
//
// Each row has a number, and the version of the model in which it changed last. A reader holds the version that it has;
// what it is sent next is all that changed since, however long that was. So nothing waits for a reader that does not
// read, and one that reads again is told each row once.

/// All rows, and since when they are so. Pure.
package struct PageModel: Sendable {
    /// So many rows that went away are remembered.
    static let mostGone = 4_096

    struct Row: Encodable, Equatable, Sendable {
        let row: UInt64
        let port: PortSnapshot
        let rateIn: Double
        let rateOut: Double
    }

    private struct Entry: Sendable {
        var row: Row
        var version: UInt64
    }

    private(set) var moment = Moment()
    /// Counts what browsers may have to be told.
    private(set) var version: UInt64 = 0
    private var entries: [ListenerKey: Entry] = [:]
    private var gone: [(version: UInt64, row: UInt64)] = []
    /// Readers that have an older version begin anew.
    private var oldest: UInt64 = 0
    private var lastRow: UInt64 = 0

    /// Nothing is known.
    package init() {
        moment.portRates = RateMeter(least: 0.7)
    }

    /// Takes what the helper said.
    package mutating func take(_ answer: HelperAnswer, at nanoseconds: UInt64) {
        moment.take(answer, at: nanoseconds)
        version += 1
        guard moment.trouble == nil else { return }
        var left = entries
        for port in moment.ports {
            let key = ListenerKey(port)
            left[key] = nil
            update(key, port, moment.portRates[key])
        }
        for (key, entry) in left {
            entries[key] = nil
            gone.append((version, entry.row.row))
        }
        let surplus = gone.count - Self.mostGone
        guard surplus > 0 else { return }
        oldest = gone[surplus - 1].version
        gone.removeFirst(surplus)
    }

    private mutating func update(_ key: ListenerKey, _ port: PortSnapshot, _ rate: ByteRate) {
        let old = entries[key]
        if old == nil { lastRow += 1 }
        let row = Row(
            row: old?.row.row ?? lastRow, port: port, rateIn: rate.bytesIn,
            rateOut: rate.bytesOut)
        if old?.row != row { entries[key] = Entry(row: row, version: version) }
    }

    /// The listener of a row.
    package func port(_ row: UInt64) -> PortSnapshot? {
        entries.values.first { $0.row.row == row }?.row.port
    }

    /// What somebody is told who has a version; nil: has none.
    package func news(since known: UInt64?) -> PageNews {
        // A reader of another run of the program is no reader of this one: versions come from this one only.
        let known = known.flatMap { $0 < oldest ? nil : $0 }
        let changed = entries.values.filter { entry in known.map { entry.version > $0 } ?? true }
        return PageNews(
            reset: known == nil, trouble: moment.trouble, status: moment.status,
            rateIn: moment.portRates.total.bytesIn, rateOut: moment.portRates.total.bytesOut,
            rows: changed.map(\.row).sorted { $0.row < $1.row },
            gone: known.map { known in gone.filter { $0.version > known }.map(\.row) } ?? [])
    }
}

/// One message to a browser.
package struct PageNews: Encodable, Sendable {
    /// Whether these rows are all.
    package let reset: Bool
    /// Why the helper says nothing.
    @Nullable package var trouble: String?
    let status: StatusReport
    let rateIn: Double
    let rateOut: Double
    let rows: [PageModel.Row]
    /// The numbers of rows that are gone.
    package let gone: [UInt64]

    /// The numbers of the rows that are told.
    package var rowNumbers: [UInt64] { rows.map(\.row) }
}

/// The answer about one row.
struct PageExplanation: Encodable {
    let text: String
}
