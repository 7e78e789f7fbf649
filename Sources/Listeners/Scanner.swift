internal import Addresses
internal import Posix
internal import Sockets

// # Reading what listens
//
// The truth is a full scan of what listens now; hints only say when to look.
//
// ## Where TCP listeners are read from
//
// /proc/net/tcp lists LISTEN rows first, so reading could stop at the first other row. But the kernel looks
// for that row by walking its whole table of connections: on a machine with 24 GiB (262,144 buckets) and
// few connections, 2.5 ms for tcp and 2.5 ms for tcp6, ten times a second 5 % of a core. A sock_diag dump
// of LISTEN sockets takes 25 µs a family and also says which `[::]` are v6-only. So sock_diag is read where
// it is permitted *and* was seen to agree with /proc at the start and once a minute; /proc is the fallback.
//
// UDP tables are small (20–40 µs each) and are always read from /proc; sock_diag is asked for v6-only
// when a new `[::]` row shows up.
//
// A table whose bytes are the same as last time is not parsed again, and when all are the same the whole
// scan ends there: on a quiet machine that is nearly always.
//
// A table that cannot be read, or is cut off, makes the whole scan fail, and a failed scan changes nothing.

/// Reads all tables. Owned by the watcher's thread.
final class Scanner {
    private let directory: String
    private let diag: SockDiag?
    private var isDiagTrusted = false
    private var checkedAt: UInt64 = 0
    private static let checkEvery: UInt64 = 60_000
    private static let othersEvery: UInt64 = 1_000

    private var buffer: [UInt8] = []
    private var cache: [String: (bytes: [UInt8], rows: [SocketRow])] = [:]
    /// Whether the last scan saw anything other than the one before.
    private(set) var hasChanged = true
    private var files: [String: FileBox] = [:]
    private var lastTCP: [SocketRow]?
    private var others: [SocketRow] = []
    private var othersAt: UInt64 = 0
    private var udpV6Only: [UInt64: Bool] = [:]

    private final class FileBox {
        let file: ProcFile
        init(_ path: String) throws(SystemError) { file = try ProcFile(path) }
    }

    /// What cannot be read now.
    struct Failure: Error {
        let what: String
    }

    init(directory: String = "/proc/net", usesDiag: Bool = true) {
        self.directory = directory
        diag = usesDiag ? SockDiag() : nil
    }

    /// Whether TCP comes from sock_diag now.
    var usesDiag: Bool { isDiagTrusted }

    /// All rows that may be listeners, at time `now` (milliseconds).
    ///
    /// - Parameter reusingTCP: Take the TCP rows of the last scan: for when the kernel would have said that
    ///   they changed.
    func scan(now: UInt64, reusingTCP: Bool = false) throws(Failure) -> [SocketRow] {
        hasChanged = false
        if now >= othersAt + Self.othersEvery || othersAt == 0 {
            let read = readOthers()
            if read != others { hasChanged = true }
            others = read
            othersAt = max(1, now)
        }
        if !reusingTCP || lastTCP == nil { lastTCP = try tcpRows(now: now) }
        return (lastTCP ?? []) + (try udpRows()) + others
    }

    // MARK: TCP

    private func tcpRows(now: UInt64) throws(Failure) -> [SocketRow] {
        if let diag, checkedAt == 0 || now >= checkedAt + Self.checkEvery {
            checkedAt = max(1, now)
            isDiagTrusted = try agrees(diag)
        }
        guard isDiagTrusted, let diag, let answer = diag.answer(.tcp, state: SocketRow.listening)
        else { return try procTCPRows() }
        return try cached("sock_diag", answer[...]) { (bytes) throws(ProcTableError) in
            guard let rows = diag.rows(.tcp, in: bytes) else { throw ProcTableError(line: 0) }
            return rows
        }
    }

    /// Whether sock_diag and /proc list the same sockets. Something may come or go between the two
    /// readings: a few tries decide.
    private func agrees(_ diag: SockDiag) throws(Failure) -> Bool {
        for _ in 0..<3 {
            guard let rows = diag.rows(.tcp, state: SocketRow.listening) else { return false }
            let listed = Set(try procTCPRows().map(\.inode))
            if Set(rows.map(\.inode)) == listed { return true }
        }
        return false
    }

    func procTCPRows() throws(Failure) -> [SocketRow] {
        func listening(_ name: String) throws(Failure) -> [SocketRow]? {
            try table(name, { ProcTable.endsListening(.tcp, $0) }) {
                (bytes) throws(ProcTableError) in
                try ProcTable.rows(.tcp, in: bytes, onlyListening: true)
            }
        }
        guard let v4 = try listening("tcp") else { throw Failure(what: "no tcp") }
        return v4 + (try listening("tcp6") ?? [])
    }

    // MARK: UDP

    private func udpRows() throws(Failure) -> [SocketRow] {
        func all(_ name: String) throws(Failure) -> [SocketRow]? {
            try table(name) { (bytes) throws(ProcTableError) in
                try ProcTable.rows(.udp, in: bytes)
            }
        }
        guard let v4 = try all("udp") else { throw Failure(what: "no udp") }
        return v4 + withV6Only(try all("udp6") ?? [])
    }

    /// Tells dual-stack from v6-only; asks only when an unknown `[::]` row shows up.
    private func withV6Only(_ rows: [SocketRow]) -> [SocketRow] {
        let wildcards = rows.filter { $0.endpoint.address == .anyV6 }
        guard !wildcards.isEmpty else { return rows }
        if wildcards.contains(where: { udpV6Only[$0.inode] == nil }) {
            let known = diag?.rows(.udp, state: SocketRow.unconnected) ?? []
            udpV6Only = [:]
            for row in known where row.endpoint.address == .anyV6 {
                udpV6Only[row.inode] = row.isV6Only ?? false
            }
            // What sock_diag does not know counts as dual-stack, and is not asked for again.
            for row in wildcards where udpV6Only[row.inode] == nil { udpV6Only[row.inode] = false }
        }
        return rows.map { row in
            var row = row
            if row.endpoint.address == .anyV6 { row.isV6Only = udpV6Only[row.inode] }
            return row
        }
    }

    // MARK: What cannot be carried

    /// These are for the report only: a table that is missing, or that we may not read, is passed over.
    private func readOthers() -> [SocketRow] {
        var rows: [SocketRow] = []
        let tables: [(String, SocketKind)] = [
            ("raw", .raw), ("raw6", .raw), ("icmp", .icmp), ("icmp6", .icmp),
            ("udplite", .udplite), ("udplite6", .udplite),
        ]
        for (name, kind) in tables {
            rows += other(name) { (bytes) throws(ProcTableError) in
                try ProcTable.rows(kind, in: bytes)
            }
        }
        rows += other("packet", ProcTable.packetRows)
        rows += other("sctp/eps", ProcTable.sctpRows)
        return rows
    }

    private func other(
        _ name: String, _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) -> [SocketRow] {
        // The first and second failure alike: not there.
        ((try? table(name, { _ in false }, parse)) ?? nil) ?? []
    }

    // MARK: Files

    /// Reads and parses a table.
    ///
    /// - Returns: Nil when there is no such table, as tcp6 without IPv6. One that cannot be opened for another
    ///   reason (EMFILE) is not empty: the scan fails.
    private func table(
        _ name: String, _ isEnough: (ArraySlice<UInt8>) -> Bool = { _ in false },
        _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) throws(Failure) -> [SocketRow]? {
        guard let box = try openTable(name) else { return nil }
        let count: Int
        do {
            count = try box.file.readAll(into: &buffer, isEnough: isEnough)
        } catch {
            files[name] = nil
            throw Failure(what: "\(name): \(error)")
        }
        return try cached(name, buffer[..<count], parse)
    }

    private func openTable(_ name: String) throws(Failure) -> FileBox? {
        if let box = files[name] { return box }
        do {
            let box = try FileBox("\(directory)/\(name)")
            files[name] = box
            return box
        } catch {
            guard !error.isMissing else { return nil }
            throw Failure(what: "\(name): \(error)")
        }
    }

    /// Parses bytes unless they are the same as last time.
    private func cached(
        _ name: String, _ bytes: ArraySlice<UInt8>,
        _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) throws(Failure) -> [SocketRow] {
        if let known = cache[name], known.bytes[...] == bytes { return known.rows }
        hasChanged = true
        let bytes = Array(bytes)
        do {
            let rows = try parse(bytes)
            cache[name] = (bytes, rows)
            return rows
        } catch {
            throw Failure(what: "\(name), line \(error.line)")
        }
    }
}
