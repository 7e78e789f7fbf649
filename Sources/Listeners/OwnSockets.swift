internal import EventLoop

/// The inodes of our own sockets, which are never listeners: mirrors, flows, the tunnel.
///
/// Recognised by inode, not by address: the same port may be mirrored one way over TCP and the other way
/// over UDP. Any thread adds and removes; the watcher takes what changed and keeps the sets (``KnownSockets``),
/// so that the two threads share no storage but what changes hands under the lock.
public final class OwnSockets: Sendable {
    enum Change {
        case opened(UInt64)
        case closed(UInt64)
    }

    private struct State {
        var changes: [Change] = []
        /// Counts changes, so that a scan of unchanged tables can be skipped.
        var version: UInt64 = 0
    }

    private let state = Guarded(State())

    /// Makes an empty set.
    public init() {}

    /// Adds a socket, before the tables can list it.
    public func insert(_ inode: UInt64) { note(.opened(inode)) }

    /// Removes a socket that is about to be, or was just, closed.
    public func remove(_ inode: UInt64) { note(.closed(inode)) }

    private func note(_ change: Change) {
        state.withLock { state in
            state.changes.append(change)
            state.version += 1
        }
    }

    /// How often the set changed.
    var version: UInt64 { state.withLock { $0.version } }

    /// What changed since the last call, in its order.
    fileprivate func takeChanges() -> [Change] {
        state.withLock { state in
            defer { state.changes = [] }
            return state.changes
        }
    }
}

/// What the watcher knows of ``OwnSockets``. Its thread only.
///
/// It looks before *and* after it reads the tables, so a socket that was opened or closed meanwhile is still
/// recognised: what is removed stays known to the end of the scan that begins next. The kernel numbers sockets
/// upwards, so a number does not soon come back as somebody else's.
struct KnownSockets {
    private let own: OwnSockets
    private var live: Set<UInt64> = []
    private var retired: Set<UInt64> = []
    /// Removed before this scan began: known for the last time.
    private var fading: Set<UInt64> = []

    init(_ own: OwnSockets) {
        self.own = own
    }

    /// Prepares for a scan, the last one that knows what was removed before it.
    mutating func beginScan() {
        update()
        fading = retired
        retired = []
    }

    /// What was known at any time during the scan.
    mutating func endScan() -> Set<UInt64> {
        update()
        return live.union(retired).union(fading)
    }

    private mutating func update() {
        for change in own.takeChanges() {
            switch change {
            case .opened(let inode): live.insert(inode)
            case .closed(let inode): if live.remove(inode) != nil { retired.insert(inode) }
            }
        }
    }
}
