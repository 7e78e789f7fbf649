internal import EventLoop

/// The inodes of our own sockets, which are never listeners: mirrors, flows, the tunnel.
///
/// Recognised by inode, not by address: the same port may be mirrored one way over TCP and the other way
/// over UDP. Any thread adds and removes; the watcher takes what changed and keeps the sets (``KnownSockets``),
/// so that the two threads share no storage but what changes hands under the lock.
///
/// A peer decides how many of its flows come and go between two scans. A socket that no scan can have seen is
/// forgotten at once, so what is kept here is never more than what is open, or was at the last scan.
package final class OwnSockets: Sendable {
    /// What changed since the watcher looked.
    struct Changes {
        var opened: Set<UInt64> = []
        /// Known to the watcher, or opened during its scan; a number in both sets was closed first.
        var closed: Set<UInt64> = []
    }

    private struct State {
        var changes = Changes()
        var isScanning = false
        /// Counts changes, so that a scan of unchanged tables can be skipped.
        var version: UInt64 = 0
    }

    private let state = Locked(State())
    /// The set that the watcher takes, where several parts of a process have one each.
    private let whole: OwnSockets?
    private let open = Locked(0)

    /// Makes an empty set.
    ///
    /// - Parameter whole: The set that everything goes into; this one then only counts.
    package init(within whole: OwnSockets? = nil) {
        self.whole = whole
    }

    /// How many sockets there are, of a set within another one.
    package var count: Int { open.withLock { $0 } }

    /// Adds a socket, before the tables can list it.
    package func insert(_ inode: UInt64) {
        if let whole {
            open.withLock { $0 += 1 }
            return whole.insert(inode)
        }
        state.withLock { state in
            state.changes.opened.insert(inode)
            state.version += 1
        }
    }

    /// Removes a socket, after it was closed: a scan that begins now does not know it.
    package func remove(_ inode: UInt64) {
        if let whole {
            open.withLock { $0 -= 1 }
            return whole.remove(inode)
        }
        state.withLock { state in
            let isUnseen = state.changes.opened.remove(inode) != nil && !state.isScanning
            if !isUnseen { state.changes.closed.insert(inode) }
            state.version += 1
        }
    }

    /// How often the set changed.
    var version: UInt64 { state.withLock { $0.version } }

    /// How many changes wait for the watcher.
    var backlog: Int { state.withLock { $0.changes.opened.count + $0.changes.closed.count } }

    /// What changed since the last call, as a scan begins or has ended.
    fileprivate func takeChanges(scanBegins: Bool) -> Changes {
        state.withLock { state in
            defer { state.changes = Changes() }
            state.isScanning = scanBegins
            return state.changes
        }
    }
}

/// What the watcher knows of ``OwnSockets``. Its thread only.
///
/// It looks before *and* after it reads the tables, so a socket that was opened or closed meanwhile is still
/// recognised: what is removed stays known to the end of the next reading of all tables, and while rows that were read
/// before are taken again. The kernel numbers sockets upwards, so a number is not soon used for another socket.
struct KnownSockets {
    private let own: OwnSockets
    private var live: Set<UInt64> = []
    private var retired: Set<UInt64> = []
    /// Removed before this scan began: known for the last time, if the scan reads all tables.
    private var fading: Set<UInt64> = []

    init(_ own: OwnSockets) {
        self.own = own
    }

    /// Prepares for a scan.
    mutating func beginScan() {
        update(scanBegins: true)
        fading = retired
    }

    /// What was known at any time during the scan.
    ///
    /// - Parameter readAll: Whether no rows of an earlier scan were taken again, and it did not fail.
    mutating func endScan(readAll: Bool) -> Set<UInt64> {
        update(scanBegins: false)
        defer { if readAll { retired.subtract(fading) } }
        return live.union(retired)
    }

    private mutating func update(scanBegins: Bool) {
        let changes = own.takeChanges(scanBegins: scanBegins)
        live.subtract(changes.closed)
        retired.formUnion(changes.closed)
        live.formUnion(changes.opened)
    }
}
