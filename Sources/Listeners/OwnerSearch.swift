internal import TwinportModel

/// Which listeners lack an owner, and when each is looked for. Pure: the walk over all processes is passed in.
///
/// The walk is slow, so there are at most two a second, each for all listeners that are due. A listener is due as
/// soon as it appears, and again in doubling gaps for half a minute: a container that starts slowly has got its
/// files by then, and a docker-proxy listens before its container's file has the address.
struct OwnerSearch {
    /// The shortest time between two walks, and the first gap of a listener, in milliseconds.
    static let every: UInt64 = 500
    /// For how many listeners one walk is made; the others wait for the next one. What is newest is asked for first: of a
    /// burst most are gone by then.
    static let mostAtOnce = 50_000
    /// How often a listener is looked for.
    static let tries = 7

    private struct Wanted {
        var inode: UInt64
        var tries = 0
        var dueAt: Instant?
    }

    /// An owner that was found.
    struct Found: Equatable {
        let key: ListenerKey
        let inode: UInt64
        let owner: SocketOwner
    }

    private var wanted: [ListenerKey: Wanted] = [:]
    private var walkedAt: Instant?

    init() {}

    /// Whether no listener lacks an owner that may still be found.
    var isDone: Bool { wanted.isEmpty }

    /// Takes over what a scan found: new listeners are looked for, those that are gone are not.
    mutating func note(_ changes: [ListenerChange]) {
        for change in changes {
            switch change {
            // No process has a socket there.
            case .appeared(let listener) where listener.published != nil,
                .updated(let listener) where listener.published != nil:
                wanted[listener.key] = nil
            case .appeared(let listener), .updated(let listener):
                wanted[listener.key] = Wanted(inode: listener.inode)
            case .vanished(let key):
                wanted[key] = nil
            }
        }
    }

    /// Looks for the listeners that are due, if it is time.
    ///
    /// - Parameter walk: Finds the processes behind sockets. Called once at most.
    mutating func search(
        at now: Instant, _ walk: (Set<UInt64>) -> [UInt64: SocketOwner]
    ) -> [Found] {
        let isTime = walkedAt.map { now >= $0 + Self.every } ?? true
        guard !wanted.isEmpty, isTime else { return [] }
        walkedAt = now
        let due = newest(of: wanted.filter { $0.value.dueAt.map { $0 <= now } ?? true })
        guard !due.isEmpty else { return [] }
        let owners = walk(Set(due.values.map(\.inode)))
        var found: [Found] = []
        for (key, one) in due {
            let owner = owners[one.inode]
            if let owner { found.append(Found(key: key, inode: one.inode, owner: owner)) }
            let isKnown = owner != nil && owner?.container != .unknown
            wanted[key] = isKnown ? nil : Self.again(one, at: now)
        }
        return found
    }

    /// A later socket has a higher inode, until they wrap.
    private func newest(of due: [ListenerKey: Wanted]) -> [ListenerKey: Wanted] {
        guard due.count > Self.mostAtOnce else { return due }
        let first = due.sorted { $0.value.inode > $1.value.inode }.prefix(Self.mostAtOnce)
        return Dictionary(uniqueKeysWithValues: first.map { ($0.key, $0.value) })
    }

    private static func again(_ wanted: Wanted, at now: Instant) -> Wanted? {
        guard wanted.tries + 1 < tries else { return nil }
        var next = wanted
        next.dueAt = now + every << UInt64(wanted.tries)
        next.tries += 1
        return next
    }
}
