internal import Addresses

// From rows to differences. Pure: rows, a clock and a set of inodes in, changes out.
//
// Rules, in order:
//   · our own sockets are not listeners                                     (by inode)
//   · TCP: LISTEN rows. UDP: unconnected rows; a socket that was a listener and has connected since,
//     with the same inode, stays one (a server that connects to its first client)
//   · UDP inside the ephemeral range: only once its inode is old enough
//   · all rows bound alike are one listener, gone with the last of them

/// What is known to listen, and how it changed.
struct ListenerTracker {
    private(set) var known: [ListenerKey: Listener] = [:]
    private var udpSince: [UInt64: UInt64] = [:]

    /// Whether an ephemeral UDP socket is waiting to be old enough: time alone may then change things.
    private(set) var isWaiting = false

    /// What the rules need beside the rows.
    struct Context {
        var own: Set<UInt64>
        var now: UInt64
        var ephemeralPorts: ClosedRange<Port>
        var ephemeralAfter: UInt64?
    }

    /// The sockets behind one listener.
    private struct Sighting {
        var uid: UInt32
        var inodes: [UInt64]
    }

    /// Whether taking over these rows would close a listener. Worth a second look first.
    mutating func losesListener(_ rows: [SocketRow], _ context: Context) -> Bool {
        let seen = sightings(rows, context)
        return known.keys.contains { seen[$0] == nil }
    }

    /// Takes over what a scan saw.
    mutating func update(_ rows: [SocketRow], _ context: Context) -> [ListenerChange] {
        let seen = sightings(rows, context)
        var changes: [ListenerChange] = []
        for key in known.keys where seen[key] == nil {
            known[key] = nil
            changes.append(.vanished(key))
        }
        for (key, sighting) in seen {
            if let change = settle(key, sighting) { changes.append(change) }
        }
        return changes
    }

    private mutating func settle(_ key: ListenerKey, _ seen: Sighting) -> ListenerChange? {
        guard let old = known[key] else {
            let listener = Listener(key: key, uid: seen.uid, inode: seen.inodes[0], owner: nil)
            known[key] = listener
            return .appeared(listener)
        }
        guard !seen.inodes.contains(old.inode) else { return nil }
        let listener = Listener(key: key, uid: seen.uid, inode: seen.inodes[0], owner: nil)
        known[key] = listener
        return .updated(listener)
    }

    /// Notes who is behind a listener.
    ///
    /// - Returns: The listener, if it is still the same and this is news.
    mutating func learn(_ owner: SocketOwner, ofInode inode: UInt64, at key: ListenerKey)
        -> Listener?
    {
        guard var listener = known[key], listener.inode == inode, listener.owner != owner else {
            return nil
        }
        listener.owner = owner
        known[key] = listener
        return listener
    }

    // MARK: Rules

    private mutating func sightings(
        _ rows: [SocketRow], _ context: Context
    ) -> [ListenerKey: Sighting] {
        var seen: [ListenerKey: Sighting] = [:]
        var stillThere: Set<UInt64> = []
        isWaiting = false
        for row in rows where !context.own.contains(row.inode) {
            if row.kind == .udp { stillThere.insert(row.inode) }
            guard counts(row, context) else { continue }
            let key = ListenerKey(
                kind: row.kind, endpoint: row.endpoint,
                isV6Only: row.endpoint.address == .anyV6 && row.isV6Only == true)
            if seen[key] == nil {
                seen[key] = Sighting(uid: row.uid, inodes: [row.inode])
            } else {
                seen[key]?.inodes.append(row.inode)
            }
        }
        udpSince = udpSince.filter { stillThere.contains($0.key) }
        keepConnected(rows, &seen)
        return seen
    }

    private mutating func counts(_ row: SocketRow, _ context: Context) -> Bool {
        switch row.kind {
        case .tcp: return row.state == SocketRow.listening && row.endpoint.port != 0
        case .udp:
            guard row.state == SocketRow.unconnected, row.endpoint.port != 0 else { return false }
            guard context.ephemeralPorts.contains(row.endpoint.port) else { return true }
            let since = udpSince[row.inode] ?? context.now
            udpSince[row.inode] = since
            guard let after = context.ephemeralAfter else { return false }
            if context.now &- since >= after { return true }
            isWaiting = true
            return false
        default: return true
        }
    }

    /// A known UDP listener whose socket is connected now. Its row may show the address it got by
    /// connecting; the inode tells.
    private func keepConnected(_ rows: [SocketRow], _ seen: inout [ListenerKey: Sighting]) {
        var connected: [UInt64: SocketRow] = [:]
        for row in rows where row.kind == .udp && row.state != SocketRow.unconnected {
            connected[row.inode] = row
        }
        guard !connected.isEmpty else { return }
        for (key, listener) in known where key.kind == .udp && seen[key] == nil {
            guard let row = connected[listener.inode] else { continue }
            seen[key] = Sighting(uid: row.uid, inodes: [listener.inode])
        }
    }
}
