internal import TwinportModel

/// Looks into other processes for the watcher: who holds a socket, and in which container that process is. Owned by the
/// watcher's thread. Nil stands for "cannot be told now".
protocol ProcessFinder: AnyObject {
    /// The process behind each of these sockets, as far as it may be seen. Slow: it looks at every process.
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]?

    /// A process of the container that has each of these addresses in a network of its own. Slow: it looks at every
    /// process.
    func owners(at addresses: Set<IPAddress>) -> [IPAddress: SocketOwner]?

    /// Those of `inodes` that any process holds. Slow, too.
    func held(among inodes: Set<UInt64>) -> Set<UInt64>?

    /// Those of `inodes` that this process holds.
    func held(among inodes: Set<UInt64>, by pid: Int32) -> Set<UInt64>?

    /// Whether every process of the machine can be seen.
    func canSeeAll() -> Bool?

    /// The network namespace of the first process of each user namespace but ours, and that process.
    func namespaces(most: Int) -> [ForeignNamespace]?
}

/// A network namespace of a user's programs.
struct ForeignNamespace: Equatable, Sendable {
    /// What tells it from others.
    let name: String
    /// The first process in it.
    let pid: Int32
}
