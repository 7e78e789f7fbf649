internal import TwinportModel

// The tables of /proc/net, from bytes (proc_net(5)). Pure.
//
//       sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 …
//
// Addresses are 32-bit words in the machine's byte order, printed in hexadecimal; ports are numbers.

/// A malformed table: cut off, or of another form. It is never taken for an empty one.
struct ProcTableError: Error, Equatable {
    let line: Int
}

enum ProcTable {
    /// Reads the rows of a table with the columns above: tcp, tcp6, udp, udp6, udplite, raw, icmp, ….
    ///
    /// - Parameter onlyListening: Stop at the first row of another state than LISTEN: in the TCP tables
    ///   those rows come first.
    static func rows(
        _ kind: SocketKind, in bytes: [UInt8], onlyListening: Bool = false
    ) throws(ProcTableError) -> [SocketRow] {
        guard !bytes.isEmpty else { throw ProcTableError(line: 0) }
        var rows: [SocketRow] = []
        var scanner = LineScanner(bytes)
        guard scanner.nextLine() else { throw ProcTableError(line: 0) }
        while scanner.nextLine() {
            guard let row = row(kind, &scanner) else { throw ProcTableError(line: scanner.line) }
            if onlyListening, row.state != SocketRow.listening { return rows }
            rows.append(row)
        }
        // With `onlyListening` the caller may have stopped reading in the middle of a later row.
        guard scanner.isAtEnd else { throw ProcTableError(line: scanner.line) }
        return rows
    }

    /// Whether the bytes read so far contain a row that does not listen, so that no more is needed.
    static func endsListening(_ kind: SocketKind, _ bytes: ArraySlice<UInt8>) -> Bool {
        // A line has at most 200 bytes: two of them hold the last whole one.
        var scanner = LineScanner(Array(bytes.suffix(400)))
        guard scanner.lastWholeLine(), let row = row(kind, &scanner) else { return false }
        return row.state != SocketRow.listening
    }

    private static func row(_ kind: SocketKind, _ scanner: inout LineScanner) -> SocketRow? {
        guard scanner.skipField(), let endpoint = scanner.endpoint(), scanner.skipField(),
            let state = scanner.hexadecimal(digits: 2), scanner.skipField(), scanner.skipField(),
            scanner.skipField(), let uid = scanner.decimal(), scanner.skipField(),
            let inode = scanner.decimal()
        else { return nil }
        return SocketRow(
            kind: kind, endpoint: endpoint.unmapped, state: UInt8(truncatingIfNeeded: state),
            uid: UInt32(truncatingIfNeeded: uid), inode: inode, isV6Only: nil)
    }

    /// Reads `/proc/net/packet`: sk RefCnt Type Proto Iface R Rmem User Inode.
    static func packetRows(in bytes: [UInt8]) throws(ProcTableError) -> [SocketRow] {
        try simpleRows(in: bytes) { scanner in
            guard scanner.skipField(), scanner.skipField(), scanner.skipField(),
                let number = scanner.hexadecimal(digits: 4), scanner.skipField(),
                scanner.skipField(), scanner.skipField(), let uid = scanner.decimal(),
                let inode = scanner.decimal()
            else { return nil }
            return SocketRow(
                kind: .packet, endpoint: Endpoint(.anyV4, UInt16(truncatingIfNeeded: number)),
                state: 0, uid: UInt32(truncatingIfNeeded: uid), inode: inode, isV6Only: nil)
        }
    }

    /// Reads `/proc/net/sctp/eps`: ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS.
    static func sctpRows(in bytes: [UInt8]) throws(ProcTableError) -> [SocketRow] {
        try simpleRows(in: bytes) { scanner in
            guard scanner.skipField(), scanner.skipField(), scanner.skipField(),
                scanner.skipField(), scanner.skipField(), let port = scanner.decimal(),
                let uid = scanner.decimal(), let inode = scanner.decimal()
            else { return nil }
            let address = scanner.text().flatMap { IPAddress($0) } ?? .anyV4
            return SocketRow(
                kind: .sctp, endpoint: Endpoint(address, UInt16(truncatingIfNeeded: port)),
                state: 0, uid: UInt32(truncatingIfNeeded: uid), inode: inode, isV6Only: nil)
        }
    }

    private static func simpleRows(
        in bytes: [UInt8], _ read: (inout LineScanner) -> SocketRow?
    ) throws(ProcTableError) -> [SocketRow] {
        guard !bytes.isEmpty else { throw ProcTableError(line: 0) }
        var scanner = LineScanner(bytes)
        guard scanner.nextLine() else { throw ProcTableError(line: 0) }
        var rows: [SocketRow] = []
        while scanner.nextLine() {
            guard let row = read(&scanner) else { throw ProcTableError(line: scanner.line) }
            rows.append(row)
        }
        guard scanner.isAtEnd else { throw ProcTableError(line: scanner.line) }
        return rows
    }
}
