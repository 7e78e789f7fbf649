internal import TwinportModel

// # Ports that are kept free
//
// A service restarts: its socket closes, and milliseconds or seconds later a new one binds the same port. A mirror
// that waits for that port must not take it in between, or the service stays dead. So when the process that was in
// a mirror's way leaves, the address stays free for some seconds. A listener that the peer advertises only after
// that was not waiting, and is mirrored at once: its service moved from one machine to the other.
//
// A hold belongs to a listener's key, not to its entry, so that it also outlives a restart of the peer's service.
// Pure; times are milliseconds.

/// Which addresses the mirrors of which listeners leave free, and until when.
struct PortHolds {
    /// How long an address is kept free, in milliseconds.
    static let time: UInt64 = 5_000
    /// How often a mirror makes room for a process that asks for its port, at most: once in so many milliseconds.
    static let yieldGap: UInt64 = 60_000
    /// The most holds at a time; further mirrors bind at once.
    static let most = 8_192

    /// One address that is kept free.
    struct Hold {
        let address: PlannedSocket
        let until: UInt64
        let reason: Reason
    }

    private var holds: [ListenerKey: Hold] = [:]
    private var yields: [ListenerKey: UInt64] = [:]

    static var seconds: Int { Int(time / 1_000) }

    /// A process left `address`, which was in the way of the mirror of `key`.
    mutating func left(
        _ address: PlannedSocket, by owner: String, for key: ListenerKey, at now: UInt64
    ) {
        let reason = Reason.keptAfter(seconds: Self.seconds, owner: owner, address.endpoint)
        hold(address, for: key, at: now, reason)
    }

    /// A process asks for `address`, which a mirror of `key` holds.
    ///
    /// - Returns: Whether the mirror is to make room: it did not lately.
    mutating func yield(
        _ address: PlannedSocket, to owner: String, by key: ListenerKey, at now: UInt64
    ) -> Bool {
        if let last = yields[key], now < last &+ Self.yieldGap { return false }
        guard yields.count < Self.most else { return false }
        yields[key] = now
        let reason = Reason.keptFor(seconds: Self.seconds, owner: owner, address.endpoint)
        return hold(address, for: key, at: now, reason)
    }

    @discardableResult
    private mutating func hold(
        _ address: PlannedSocket, for key: ListenerKey, at now: UInt64, _ reason: Reason
    ) -> Bool {
        guard holds.count < Self.most || holds[key] != nil else { return false }
        holds[key] = Hold(address: address, until: now &+ Self.time, reason: reason)
        return true
    }

    /// What the mirror of `key` leaves free now.
    func kept(for key: ListenerKey, at now: UInt64) -> Hold? {
        guard let hold = holds[key], now < hold.until else { return nil }
        return hold
    }

    /// Why the mirror of `key` may not bind `socket` now; nil: it may.
    func objection(to socket: PlannedSocket, of key: ListenerKey, at now: UInt64) -> Reason? {
        guard let hold = kept(for: key, at: now), hold.address.collides(with: socket) else {
            return nil
        }
        return hold.reason
    }

    /// Forgets what is over.
    mutating func prune(at now: UInt64) {
        if !holds.isEmpty { holds = holds.filter { now < $0.value.until } }
        if !yields.isEmpty { yields = yields.filter { now < $0.value &+ Self.yieldGap } }
    }
}
