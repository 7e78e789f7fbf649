internal import Sockets
internal import TwinportModel

/// UDP sockets from /proc, which tells neither v6-only from dual-stack, nor the device that a socket is bound to, nor
/// mirrors from other sockets; sock_diag does.
struct UDPTables {
    private let reader: TableReader
    private let diag: SockDiag?
    /// What only sock_diag tells, of each unconnected socket by inode.
    private var details: [UInt64: Details] = [:]

    private struct Details {
        var isV6Only = false
        var device: UInt32 = 0
        var isMirror: Bool?
    }

    init(reader: TableReader, diag: SockDiag?) {
        self.reader = reader
        self.diag = diag
    }

    /// All UDP sockets.
    mutating func rows() throws(ScanFailure) -> [SocketRow] {
        func all(_ name: String) throws(ScanFailure) -> [SocketRow]? {
            try reader.table(name) { (bytes) throws(ProcTableError) in
                try ProcTable.rows(.udp, in: bytes)
            }
        }
        guard let v4 = try all("udp") else { throw ScanFailure(what: "no udp") }
        let rows = v4 + (try all("udp6") ?? [])
        // Another Twinport's question whether a port is shared is no listener.
        return withDetails(rows.filter { !Socket.isProbe($0.endpoint.address) })
    }

    /// Asks only when an unknown unconnected row shows up: a device that a socket is bound to later is not noticed.
    private mutating func withDetails(_ rows: [SocketRow]) -> [SocketRow] {
        func isAskedFor(_ row: SocketRow) -> Bool {
            row.state == SocketRow.unconnected && row.endpoint.port != 0
        }
        if rows.contains(where: { isAskedFor($0) && details[$0.inode] == nil }) {
            ask(about: rows.filter(isAskedFor))
        }
        return rows.map { row in
            guard let known = details[row.inode] else { return row }
            var row = row
            row.device = known.device
            row.isMirror = known.isMirror
            if row.endpoint.address == .anyV6 { row.isV6Only = known.isV6Only }
            return row
        }
    }

    private mutating func ask(about rows: [SocketRow]) {
        details = [:]
        for row in diag?.rows(.udp, state: SocketRow.unconnected) ?? [] {
            details[row.inode] = Details(
                isV6Only: row.isV6Only ?? false, device: row.device, isMirror: row.isMirror)
        }
        // What sock_diag does not know counts as dual-stack, free of devices and no mirror, and is not asked for again.
        for row in rows where details[row.inode] == nil { details[row.inode] = Details() }
    }
}
