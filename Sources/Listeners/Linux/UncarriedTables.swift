internal import TwinportModel

/// Sockets that cannot be carried, once a second. They are for the report only: a table that is missing, or that
/// we may not read, is passed over.
struct UncarriedTables {
    private static let every: UInt64 = 1_000
    private static let tables: [(String, SocketKind)] = [
        ("raw", .raw), ("raw6", .raw), ("icmp", .icmp), ("icmp6", .icmp),
        ("udplite", .udplite), ("udplite6", .udplite),
    ]

    private let reader: TableReader
    private var last: [SocketRow] = []
    private var readAt: Instant?

    init(reader: TableReader) {
        self.reader = reader
    }

    /// All of them, as they were within the last second.
    mutating func rows(at now: Instant) -> [SocketRow] {
        if let readAt, now < readAt + Self.every { return last }
        readAt = now
        let rows = read()
        // A table that disappeared is not parsed, but it is a change.
        if rows != last { reader.hasChanged = true }
        last = rows
        return rows
    }

    private func read() -> [SocketRow] {
        var rows: [SocketRow] = []
        for (name, kind) in Self.tables {
            rows += table(name) { (bytes) throws(ProcTableError) in
                try ProcTable.rows(kind, in: bytes)
            }
        }
        rows += table("packet", ProcTable.packetRows)
        rows += table("sctp/eps", ProcTable.sctpRows)
        return rows
    }

    private func table(
        _ name: String, _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) -> [SocketRow] {
        // Missing and unreadable tables are treated alike.
        ((try? reader.table(name, { _ in false }, parse)) ?? nil) ?? []
    }
}
