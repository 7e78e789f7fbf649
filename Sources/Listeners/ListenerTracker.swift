internal import TwinportModel

// From rows to differences. Pure: rows, a clock and a set of inodes in, changes out.
//
// Rules, in order:
//   · our own sockets are not listeners                                     (by inode)
//   · TCP: LISTEN rows. UDP: unconnected rows; a socket that was a listener and has connected since,
//     with the same inode, stays one (a server that connects to its first client)
//   · UDP inside the ephemeral range, if a program asked for the port: at once
//   · if the kernel chose it: when it has not sent within 20 ms, or as soon as bytes that may tell of it are about to
//     leave; its mirrors are on loopback only
//   · any other: once its inode is old enough
//   · a socket of which it must be known first what it is waits until it is known
//   · where the kernel does not show marks, a listener of a process `twinport` or `twinport-agent` is a mirror
//   · all rows bound alike are one listener, gone with the last of them; one that can be mirrored stands
//     before one that cannot (a foreign mirror cannot), and that before one of another network namespace

/// The known listeners, and how they change.
struct ListenerTracker {
    private(set) var known: [ListenerKey: Listener] = [:]
    /// When each ephemeral UDP socket was first seen, by inode.
    private var udpSince: [UInt64: Instant] = [:]
    /// The sockets of each UDP listener, connected ones among them.
    private var members: [ListenerKey: Set<UInt64>] = [:]
    /// Listeners of which no table tells whether they are mirrors: their processes tell.
    private var untold: Set<ListenerKey> = []
    /// How UDP sockets came by their ports.
    var origins = UDPOrigins()
    /// For so long a socket whose port the kernel chose may be a client that has not sent yet, in milliseconds.
    static let clientSendsWithin: UInt64 = 20

    /// Whether a socket waits to be old enough, or to be known: time alone may then change things.
    private(set) var isWaiting = false

    /// What the rules need beside the rows.
    struct Context {
        var own: Set<UInt64>
        var now: Instant
        var ephemeralPorts: ClosedRange<Port>
        var ephemeralAfter: UInt64?
        /// Whether bytes that may tell of a new listener wait for this scan.
        var isAsked = false
        /// What a row's socket is beside its address, and whether it is surely a server's; nil: not known yet.
        var inspect: (SocketRow, _ isServer: Bool) -> Inspection? = { _, _ in Inspection() }
    }

    /// What a scan saw, by the rules.
    struct Sightings {
        fileprivate var listeners: [ListenerKey: Sighting]
    }

    /// The sockets behind one listener.
    fileprivate struct Sighting {
        var uid: UInt32
        var inodes: [UInt64]
        var isLoopbackOnly: Bool
        var traits: SocketTraits
        var isMirror: Bool?

        /// Among sockets bound alike, those of the highest rank are the listener.
        var rank: Int {
            if traits.obstacle == .otherNamespace { return 0 }
            return traits.obstacle != nil || isMirror == true ? 1 : 2
        }
    }

    /// Whether taking over what a scan saw would close a listener. Worth a second look first.
    func losesListener(_ sightings: Sightings) -> Bool {
        known.keys.contains { sightings.listeners[$0] == nil }
    }

    /// Takes over what a scan saw.
    mutating func update(_ sightings: Sightings) -> [ListenerChange] {
        let seen = sightings.listeners
        members = seen.filter { $0.key.kind == .udp }.mapValues { Set($0.inodes) }
        untold = Set(seen.filter { $0.value.isMirror == nil }.keys)
        var changes: [ListenerChange] = []
        for key in known.keys where seen[key] == nil {
            known[key] = nil
            changes.append(.vanished(key))
        }
        for (key, sighting) in seen {
            if let change = compare(key, sighting) { changes.append(change) }
        }
        return changes
    }

    private mutating func compare(_ key: ListenerKey, _ seen: Sighting) -> ListenerChange? {
        var listener = Listener(
            key: key, uid: seen.uid, inode: seen.inodes[0], isLoopbackOnly: seen.isLoopbackOnly,
            isMirror: seen.isMirror == true, traits: seen.traits)
        guard let old = known[key] else {
            known[key] = listener
            return .appeared(listener)
        }
        if seen.inodes.contains(old.inode) {
            listener.inode = old.inode
            listener.owner = old.owner
            if old.owner.map({ isTwinports(key, $0) }) == true { listener.isMirror = true }
            guard listener != old else { return nil }
        }
        known[key] = listener
        return .updated(listener)
    }

    /// Notes the process behind a listener; nil: it is not known any more.
    ///
    /// - Returns: The listener, if it is still the same and this is news.
    mutating func learn(_ owner: SocketOwner?, ofInode inode: UInt64, at key: ListenerKey)
        -> Listener?
    {
        guard var listener = known[key], listener.inode == inode, listener.owner != owner else {
            return nil
        }
        listener.owner = owner
        if let owner, isTwinports(key, owner) { listener.isMirror = true }
        known[key] = listener
        return listener
    }

    /// Whether a listener without a readable mark is a Twinport's, which then counts as a mirror.
    private func isTwinports(_ key: ListenerKey, _ owner: SocketOwner) -> Bool {
        untold.contains(key) && owner.isTwinport
    }

    // MARK: Rules

    /// What rows are by the rules.
    mutating func sightings(_ rows: [SocketRow], _ context: Context) -> Sightings {
        var seen: [ListenerKey: Sighting] = [:]
        var stillThere: Set<UInt64> = []
        isWaiting = false
        for row in rows where !context.own.contains(row.inode) {
            if row.kind == .udp {
                stillThere.insert(row.inode)
            }
            guard let reach = reach(of: row, context) else { continue }
            guard let inspection = context.inspect(row, reach == .whole) else {
                isWaiting = true
                continue
            }
            for key in row.keys(inspection) {
                note(row, inspection.traits, reach, at: key, in: &seen)
            }
        }
        origins.scanned(at: context.now, present: stillThere)
        udpSince = udpSince.filter { stillThere.contains($0.key) }
        keepConnected(rows, &seen)
        return Sightings(listeners: seen)
    }

    private func note(
        _ row: SocketRow, _ traits: SocketTraits, _ reach: Reach, at key: ListenerKey,
        in seen: inout [ListenerKey: Sighting]
    ) {
        var traits = traits
        traits.isPage = row.isPage
        let sighting = Sighting(
            uid: row.uid, inodes: [row.inode], isLoopbackOnly: reach == .loopback, traits: traits,
            isMirror: row.isMirror)
        guard let rank = seen[key]?.rank, rank >= sighting.rank else {
            seen[key] = sighting
            return
        }
        guard rank == sighting.rank else { return }
        seen[key]?.inodes.append(row.inode)
        if reach == .whole { seen[key]?.isLoopbackOnly = false }
    }

    /// How far a listener's mirrors reach.
    private enum Reach {
        case whole
        case loopback
    }

    /// Whether a row is a listener, and how far its mirrors may reach; nil: it is none, or not yet.
    private mutating func reach(of row: SocketRow, _ context: Context) -> Reach? {
        switch row.kind {
        case .tcp:
            let isBound =
                row.state == SocketRow.listening || row.state == SocketRow.boundInactive
            return isBound && row.endpoint.port != 0 ? .whole : nil
        case .udp:
            guard row.state == SocketRow.unconnected, row.endpoint.port != 0 else { return nil }
            guard context.ephemeralPorts.contains(row.endpoint.port) else { return .whole }
            return ephemeralReach(of: row, context)
        default: return .whole
        }
    }

    /// The same for a UDP socket on a port that the kernel may have chosen.
    private mutating func ephemeralReach(of row: SocketRow, _ context: Context) -> Reach? {
        let since = udpSince[row.inode] ?? context.now
        udpSince[row.inode] = since
        guard let after = context.ephemeralAfter else { return nil }
        let origin = origins.origin(
            ofInode: row.inode, at: row.endpoint.port, firstSeen: since)
        let age = context.now.since(since)
        switch origin {
        case .asked: return .whole
        case .chosen where context.isAsked || age >= Self.clientSendsWithin: return .loopback
        // What was a listener once stays one: a server that answers sends, too.
        case .chosen, .client:
            if isKnown(row) || (origin == .client && age >= after) { return .loopback }
        case .unknown:
            if age >= after { return .whole }
        }
        isWaiting = true
        return nil
    }

    private func isKnown(_ row: SocketRow) -> Bool {
        known[row.key]?.inode == row.inode
    }

    /// A known UDP listener whose socket is connected now, or one of them. Its row may show the address it got by
    /// connecting; the inode tells. All that were seen bound alike count, not just the last one: a server that connects
    /// to its first client may bind a second socket beside it for a moment.
    private func keepConnected(_ rows: [SocketRow], _ seen: inout [ListenerKey: Sighting]) {
        var connected: [UInt64: SocketRow] = [:]
        for row in rows where row.kind == .udp && row.state != SocketRow.unconnected {
            connected[row.inode] = row
        }
        for (key, inodes) in members {
            guard let listener = known[key] else { continue }
            let kept = inodes.filter { connected[$0] != nil }
            guard let row = kept.first.flatMap({ connected[$0] }) else { continue }
            let sighting = Sighting(
                uid: row.uid, inodes: [], isLoopbackOnly: listener.isLoopbackOnly,
                traits: listener.traits, isMirror: listener.isMirror)
            seen[key, default: sighting].inodes += kept.sorted()
        }
    }
}
