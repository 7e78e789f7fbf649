internal import Sockets
internal import TwinportModel

/// One scan after another: reads the rows, leaves out our own sockets, and turns the rest into differences.
/// Owned by the watcher's thread.
struct ListenerScans {
    private static let rangeEvery: UInt64 = 5_000

    private let source: any ListenerSource
    private let own: OwnSockets
    private var known: KnownSockets
    private var tracker = ListenerTracker()
    private var range = EphemeralRange()
    private var ownVersion: UInt64?
    /// Whether the next whole reading must be compared even if it looks like the last one.
    private(set) var mustCompare = true

    /// The range of ephemeral ports, and when it was read.
    private struct EphemeralRange {
        var ports: ClosedRange<Port> = 32_768...60_999
        var readAt: Instant?
    }

    init(source: any ListenerSource, own: OwnSockets) {
        self.source = source
        self.own = own
        known = KnownSockets(own)
    }

    /// Compares the next reading with what is known even if it looks like the last one: the rules changed.
    mutating func compareNext() {
        mustCompare = true
    }

    /// Reads the range of ephemeral ports again every few seconds. Call before a scan: a new range changes what
    /// counts as a listener.
    mutating func refreshRange(at now: Instant) {
        if let readAt = range.readAt, now < readAt + Self.rangeEvery { return }
        range.readAt = now
        guard let ports = source.ephemeralPorts(), ports != range.ports else { return }
        range.ports = ports
        mustCompare = true
    }

    /// Notes what the kernel told since the last scan.
    mutating func note(_ events: [SocketEvent], at now: Instant) {
        if tracker.origins.note(events, at: now) { mustCompare = true }
    }

    /// Whether the kernel tells of binds.
    mutating func setTold(_ isTold: Bool) {
        tracker.origins.isTold = isTold
    }

    /// All listeners with a socket.
    var sockets: [ListenerKey: Listener] { tracker.known }

    /// Scans.
    ///
    /// - Parameters:
    ///   - reusingTCP: Whether the TCP rows of the last scan may be taken again.
    ///   - ephemeralAfter: ``WatchOptions/udpEphemeralAfter``.
    ///   - isAsked: Whether bytes that may tell of a new listener wait for this scan.
    /// - Returns: The differences; nil when nothing can have changed, or when the scan failed and says nothing.
    mutating func scan(
        at now: Instant, reusingTCP: Bool, ephemeralAfter: UInt64?, isAsked: Bool = false
    ) -> [ListenerChange]? {
        guard let rows = read(at: now, reusingTCP: reusingTCP), needsComparing() else { return nil }
        var context = ListenerTracker.Context(
            own: rows.own, now: now, ephemeralPorts: range.ports, ephemeralAfter: ephemeralAfter,
            isAsked: isAsked)
        context.inspect = { [source] in source.inspect($0, isServer: $1, at: now) }
        var seen = tracker.sightings(rows.all, context)
        if tracker.losesListener(seen) {
            // A row can be missed while the table changes under the reader.
            guard let second = read(at: now, reusingTCP: false) else { return nil }
            context.own = second.own
            seen = tracker.sightings(second.all, context)
        }
        let changes = tracker.update(seen)
        mustCompare = false
        return changes
    }

    /// Notes the owner of a listener.
    ///
    /// - Returns: The listener, if it is still the same and this is news.
    mutating func learn(_ found: OwnerSearch.Found) -> Listener? {
        tracker.learn(found.owner, ofInode: found.inode, at: found.key)
    }

    /// One reading of the tables, and our own sockets among them; nil when it failed, which changes nothing.
    private mutating func read(
        at now: Instant, reusingTCP: Bool
    ) -> (all: [SocketRow], own: Set<UInt64>)? {
        known.beginScan()
        let rows = try? source.rows(at: now, reusingTCP: reusingTCP)
        let own = known.endScan(readAll: rows != nil && !reusingTCP)
        guard let rows else {
            // Part of it may have been read: the next whole reading counts as changed.
            mustCompare = true
            return nil
        }
        return (rows, own)
    }

    /// Whether what was read, whose sockets are ours, or the time can have changed anything.
    private mutating func needsComparing() -> Bool {
        let version = own.version
        if source.hasChanged || version != ownVersion || tracker.isWaiting { mustCompare = true }
        ownVersion = version
        return mustCompare
    }
}
