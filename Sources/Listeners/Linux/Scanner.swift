internal import TwinportModel

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

/// Reads all tables of a network namespace: that of the thread that makes the scanner, which must be the thread
/// that uses it.
final class Scanner {
    private let reader: TableReader
    private var tcp: TCPTables
    private var udp: UDPTables
    private var others: UncarriedTables
    private var bound: BoundSockets
    private var foreign: ForeignNamespaces
    /// Whether other network namespaces are read, too.
    var looksElsewhere = true

    /// Reads the tables below `directory`, and asks sock_diag for what it knows better.
    init(
        directory: String = TableReader.ownDirectory, usesDiag: Bool = true,
        finder: any ProcessFinder = OwnerFinder()
    ) {
        let diag = usesDiag ? SockDiag() : nil
        reader = TableReader(directory: directory)
        tcp = TCPTables(reader: reader, diag: diag)
        udp = UDPTables(reader: reader, diag: diag)
        others = UncarriedTables(reader: reader)
        bound = BoundSockets(diag: diag)
        foreign = ForeignNamespaces(finder: finder)
    }

    /// Whether the last scan saw anything other than the one before.
    var hasChanged: Bool { reader.hasChanged }

    /// All rows that may be listeners.
    ///
    /// - Parameter reusingTCP: Whether to take the TCP rows of the last scan, because the kernel would have said
    ///   that they changed.
    func scan(at now: Instant, reusingTCP: Bool = false) throws(ScanFailure) -> [SocketRow] {
        reader.hasChanged = false
        let others = others.rows(at: now)
        if bound.refresh(at: now) { reader.hasChanged = true }
        if looksElsewhere, foreign.refresh(at: now) { reader.hasChanged = true }
        let tcp = try tcp.rows(at: now, reusing: reusingTCP)
        return tcp + (try udp.rows()) + others + bound.rows
            + (looksElsewhere ? foreign.rows : [])
    }

    /// The TCP listeners from /proc, whether or not sock_diag is trusted.
    func procTCPRows() throws(ScanFailure) -> [SocketRow] {
        try tcp.procRows()
    }
}
