internal import TwinportModel

/// Which listeners lack an owner, and when each is looked for. Pure: the walk over all processes is passed in.
///
/// The walk is slow, so there are at most two a second, each for all listeners that are due. A listener is due as
/// soon as it appears, and again in doubling gaps for half a minute: a container that starts slowly has got its
/// files by then, and a docker-proxy listens before its container's file has the address.
///
/// A socket can be passed to another process, and its first one end (Podman's `run` binds a published port and hands it to
/// `conmon`). So known owners are looked at again, some every two seconds; one that is not there any more is replaced by the
/// process that holds the socket now.
struct OwnerSearch {
    /// The shortest time between two walks, and the first gap of a listener, in milliseconds.
    static let every: UInt64 = 500
    /// For how many listeners one walk is made; the others wait for the next one. What is newest is asked for first: of a
    /// burst most are gone by then.
    static let mostAtOnce = 50_000
    /// How often a listener is looked for.
    static let tries = 7
    /// How often known owners are looked at, in milliseconds, and how many processes at once.
    static let verifyEvery: UInt64 = 2_000
    static let mostVerified = 64
    /// How many new names a process may take before it is not looked at any more.
    static let mostNames = 3

    private struct Wanted {
        var inode: UInt64
        var tries = 0
        var dueAt: Instant?
        /// Its owner, which seems to be gone.
        var last: SocketOwner?
    }

    /// An owner that was found; nil: the one that was known is gone, and no other one is seen.
    struct Found: Equatable {
        let key: ListenerKey
        let inode: UInt64
        let owner: SocketOwner?
    }

    private var wanted: [ListenerKey: Wanted] = [:]
    private var walkedAt: Instant?
    private var verification = Verification()

    private struct Verification {
        var dueAt: Instant?
        /// The last process that was looked at.
        var last: Int32 = 0
        /// Processes that were found again where a look had missed them: nothing can be told of these.
        var trusted: Set<Int32> = []
        /// How often processes were found again under another name.
        var renamed: [Int32: Int] = [:]

        /// Notes who has the socket of one that a look had missed. A process may have another name now, and pass its
        /// sockets on later; one that is renamed again and again would be looked for all the time.
        mutating func note(_ owner: SocketOwner, after last: SocketOwner) {
            guard owner.pid == last.pid else { return }
            if owner.command != last.command {
                renamed[owner.pid, default: 0] += 1
                guard renamed[owner.pid, default: 0] >= OwnerSearch.mostNames else { return }
            }
            trusted.insert(owner.pid)
        }

        /// Forgets processes that own nothing any more.
        mutating func keep(_ owners: Dictionary<Int32, SocketOwner>.Keys) {
            trusted.formIntersection(owners)
            renamed = renamed.filter { owners.contains($0.key) }
        }
    }

    init() {}

    /// Whether no listener lacks an owner that may still be found.
    var isDone: Bool { wanted.isEmpty }

    /// Takes over what a scan found: new listeners are looked for, those that are gone are not.
    mutating func note(_ changes: [ListenerChange]) {
        for change in changes {
            switch change {
            // No process has a socket there.
            case .appeared(let listener) where listener.published != nil && listener.inode == 0,
                .updated(let listener) where listener.published != nil && listener.inode == 0:
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
            let isKnown = owner != nil && owner?.container != .unknown
            let next = isKnown ? nil : Self.again(one, at: now)
            wanted[key] = next
            if let last = one.last, let owner { verification.note(owner, after: last) }
            if owner != nil || (one.last != nil && next == nil) {
                found.append(Found(key: key, inode: one.inode, owner: owner))
            }
        }
        return found
    }

    /// Looks whether processes that are known as owners are still there, and looks for the others' sockets again.
    ///
    /// - Parameters:
    ///   - known: All listeners with a socket.
    ///   - isThere: Whether a process of this number and name is there.
    mutating func verify(
        at now: Instant, _ known: [ListenerKey: Listener], isThere: (SocketOwner) -> Bool
    ) {
        if let dueAt = verification.dueAt, now < dueAt { return }
        verification.dueAt = now + Self.verifyEvery
        var owners: [Int32: SocketOwner] = [:]
        for listener in known.values {
            if let owner = listener.owner, owner.pid != 0 { owners[owner.pid] = owner }
        }
        verification.keep(owners.keys)
        let numbers = owners.keys.filter { !verification.trusted.contains($0) }.sorted()
        let (last, most) = (verification.last, Self.mostVerified)
        let turn = numbers.filter { $0 > last }.prefix(most)
        verification.last = turn.count < most ? 0 : turn.last ?? 0
        let gone = Set(turn.filter { pid in owners[pid].map { !isThere($0) } ?? false })
        guard !gone.isEmpty else { return }
        for (key, listener) in known where wanted[key] == nil {
            guard let owner = listener.owner, gone.contains(owner.pid) else { continue }
            wanted[key] = Wanted(inode: listener.inode, last: owner)
        }
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
