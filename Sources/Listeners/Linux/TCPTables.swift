internal import TwinportModel

/// TCP listeners, from sock_diag or /proc. See "Where TCP listeners are read from" in Scanner.swift.
struct TCPTables {
    private static let checkEvery: UInt64 = 60_000

    private let reader: TableReader
    private let diag: SockDiag?
    private var isDiagTrusted = false
    private var checkedAt: Instant?
    private var last: [SocketRow]?

    init(reader: TableReader, diag: SockDiag?) {
        self.reader = reader
        self.diag = diag
    }

    /// All TCP listeners; those of the last call when `reusing` says so and there was one.
    mutating func rows(at now: Instant, reusing: Bool) throws(ScanFailure) -> [SocketRow] {
        if reusing, let last { return last }
        let rows = try read(at: now)
        last = rows
        return rows
    }

    private mutating func read(at now: Instant) throws(ScanFailure) -> [SocketRow] {
        if let diag, checkedAt.map({ now >= $0 + Self.checkEvery }) ?? true {
            checkedAt = now
            isDiagTrusted = try agrees(diag)
        }
        guard isDiagTrusted, let diag, let answer = diag.answer(.tcp, state: SocketRow.listening)
        else { return try procRows() }
        return try reader.cached("sock_diag", answer[...]) { (bytes) throws(ProcTableError) in
            guard let rows = diag.rows(.tcp, in: bytes) else { throw ProcTableError(line: 0) }
            return rows
        }
    }

    /// Whether sock_diag and /proc list the same sockets. Something may come or go between the two
    /// readings: a few tries decide.
    private func agrees(_ diag: SockDiag) throws(ScanFailure) -> Bool {
        for _ in 0..<3 {
            guard let rows = diag.rows(.tcp, state: SocketRow.listening) else { return false }
            let listed = Set(try procRows().map(\.inode))
            if Set(rows.map(\.inode)) == listed { return true }
        }
        return false
    }

    /// What /proc says.
    func procRows() throws(ScanFailure) -> [SocketRow] {
        func listening(_ name: String) throws(ScanFailure) -> [SocketRow]? {
            try reader.table(name, { ProcTable.endsListening(.tcp, $0) }) {
                (bytes) throws(ProcTableError) in
                try ProcTable.rows(.tcp, in: bytes, onlyListening: true)
            }
        }
        guard let v4 = try listening("tcp") else { throw ScanFailure(what: "no tcp") }
        return v4 + (try listening("tcp6") ?? [])
    }
}
