internal import Synchronization

/// The inodes of our own sockets, which are never listeners: mirrors, flows, the tunnel.
///
/// Recognised by inode, not by address: the same port may be mirrored one way over TCP and the other way
/// over UDP. The watcher looks before *and* after it reads the tables, so a socket that was opened or
/// closed meanwhile is still recognised: what is removed stays known until the next scan begins. The kernel
/// numbers sockets upwards, so a number does not soon come back as somebody else's. Any thread.
public final class OwnSockets: Sendable {
    private struct State {
        var live: Set<UInt64> = []
        var retired: Set<UInt64> = []
        /// Counts changes, so that a scan of unchanged tables can be skipped.
        var version: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Makes an empty set.
    public init() {}

    /// Adds a socket, before the tables can list it.
    public func insert(_ inode: UInt64) {
        state.withLock { state in
            state.live.insert(inode)
            state.version += 1
        }
    }

    /// Removes a socket that is about to be, or was just, closed.
    public func remove(_ inode: UInt64) {
        state.withLock { state in
            if state.live.remove(inode) != nil { state.retired.insert(inode) }
            state.version += 1
        }
    }

    /// How often the set changed.
    var version: UInt64 { state.withLock { $0.version } }

    /// What is known as a scan begins; forgets what was removed before it.
    func beginScan() -> Set<UInt64> {
        state.withLock { state in
            defer { state.retired = [] }
            return state.live.union(state.retired)
        }
    }

    /// What is known as a scan ends.
    func endScan() -> Set<UInt64> {
        state.withLock { $0.live.union($0.retired) }
    }
}
