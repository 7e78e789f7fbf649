internal import Posix
internal import TwinportModel

// For the report only, so rarely: sockets that somebody may take for listeners. What cannot be read is passed over.

/// When to look at something that costs more the more the machine has of it. Pure but for the clock.
struct RareLook {
    /// A look is followed by so many times the processor's time it took without one: 0.05 % of a core.
    private static let share: UInt64 = 2_000

    /// The shortest time between two looks, in milliseconds.
    let every: UInt64
    private var dueAt: Instant?

    init(every: UInt64) {
        self.every = every
    }

    /// Looks if it is time.
    ///
    /// - Returns: What `look` returns; false when it is not time.
    mutating func look(
        at now: Instant, clock: () -> UInt64 = { ThisMachine.threadTime }, _ look: () -> Bool
    ) -> Bool {
        if let dueAt, now < dueAt { return false }
        let start = clock()
        defer {
            let milliseconds = (clock() &- start) / 1_000 * Self.share / 1_000
            dueAt = now + max(every, milliseconds)
        }
        return look()
    }
}

/// TCP sockets that are bound and do not listen, from sock_diag (Linux 6.8 and later). Seen twice, so that no client that
/// binds before it connects shows up. The kernel walks all bound sockets: 0.8 ms on an empty machine, 10 ms with 10,000
/// connections.
struct BoundSockets {
    private static let most = 256
    /// sock_diag is asked for state 13 and shows these sockets as closed ones.
    private static let closed: UInt8 = 0x07

    private let diag: SockDiag?
    private var pace = RareLook(every: 2_000)
    private var answer: [UInt8] = []
    private var seen: Set<UInt64> = []
    private(set) var rows: [SocketRow] = []

    init(diag: SockDiag?) {
        self.diag = diag
    }

    /// Reads them if it is time.
    ///
    /// - Returns: Whether anything changed.
    mutating func refresh(at now: Instant) -> Bool {
        var pace = pace
        defer { self.pace = pace }
        return pace.look(at: now) { read() }
    }

    private mutating func read() -> Bool {
        guard let diag, let answer = diag.answer(.tcp, state: SocketRow.boundInactive) else {
            return false
        }
        if answer == self.answer, rows.count == seen.count { return false }
        self.answer = answer
        let all = (diag.rows(.tcp, in: answer) ?? [])
            .filter { $0.state == Self.closed && $0.inode != 0 }
            .map { row in
                var row = row
                row.state = SocketRow.boundInactive
                return row
            }
        let fresh = Array(all.filter { seen.contains($0.inode) }.prefix(Self.most))
        seen = Set(all.prefix(Self.most).map(\.inode))
        defer { rows = fresh }
        return rows != fresh
    }
}

/// What listens in network namespaces that a user's programs made for themselves, as rootless container engines do: a
/// container "on the host's network" is in one of those then. Read every ten seconds through /proc, which takes root.
///
/// Only namespaces of processes in another *user* namespace count, and of each user namespace only that of its first
/// process: its "host". The networks of single containers are nobody's host.
struct ForeignNamespaces {
    /// So many are read in one turn; the others in the next ones.
    private static let atOnce = 2
    private static let mostNamespaces = 16
    private static let mostRows = 128

    private let finder: any ProcessFinder
    private var pace = RareLook(every: 10_000)
    private var byNamespace: [String: [SocketRow]] = [:]
    private var turn = 0

    init(finder: any ProcessFinder) {
        self.finder = finder
    }

    /// All of them.
    var rows: [SocketRow] { byNamespace.sorted { $0.key < $1.key }.flatMap(\.value) }

    /// Reads some of them if it is time.
    ///
    /// - Returns: Whether anything changed.
    mutating func refresh(at now: Instant) -> Bool {
        var pace = pace
        defer { self.pace = pace }
        return pace.look(at: now) { read() }
    }

    private mutating func read() -> Bool {
        let before = byNamespace
        let namespaces = finder.namespaces(most: Self.mostNamespaces) ?? []
        byNamespace = byNamespace.filter { known in namespaces.contains { $0.name == known.key } }
        guard !namespaces.isEmpty else { return byNamespace != before }
        for _ in 0..<min(Self.atOnce, namespaces.count) {
            let next = namespaces[turn % namespaces.count]
            turn = (turn + 1) % namespaces.count
            byNamespace[next.name] = Self.rows(of: next.pid)
        }
        return byNamespace != before
    }

    private static func rows(of pid: Int32) -> [SocketRow] {
        let reader = TableReader(directory: "/proc/\(pid)/net")
        var rows: [SocketRow] = []
        for name in ["tcp", "tcp6"] {
            rows += table(reader, name, { ProcTable.endsListening(.tcp, $0) }) {
                (bytes) throws(ProcTableError) in
                try ProcTable.rows(.tcp, in: bytes, onlyListening: true)
            }
        }
        for name in ["udp", "udp6"] {
            rows += table(reader, name, { _ in false }) { (bytes) throws(ProcTableError) in
                try ProcTable.rows(.udp, in: bytes).filter { $0.state == SocketRow.unconnected }
            }
        }
        return rows.prefix(mostRows).map { row in
            var row = row
            row.isForeign = true
            return row
        }
    }

    private static func table(
        _ reader: TableReader, _ name: String, _ isEnough: (ArraySlice<UInt8>) -> Bool,
        _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) -> [SocketRow] {
        ((try? reader.table(name, isEnough, parse)) ?? nil) ?? []
    }
}
