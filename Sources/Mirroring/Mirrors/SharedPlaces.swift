internal import EventLoop
package import Listeners
internal import Posix
internal import TwinportModel

// # Several guests on one desktop
//
// Each guest has a forwarder of its own, on a thread of its own, and none of them sees the others' mirrors among the
// desktop's listeners. What they share is this record of where mirrors are. A place is claimed before it is bound, so
// two guests that want it at the same time get one winner and one conflict that names the other guest.
//
// A wildcard mirror stands around single addresses of others, as around those of local programs (MirrorTable+Parts). A
// guest with an address of its own finds it free: whoever stands there with a wildcard is asked to make room, in the
// way that a local program is made room for. Only the settings give such an address, so no guest can ask for another
// one's place.

/// Where the mirrors of several guests are. Any thread.
package final class SharedPlaces: Sendable {
    private struct Claim {
        let number: UInt64
        let guest: String
        let socket: PlannedSocket
        /// Whether a mirror stands there.
        var isBound = false

        /// The mirror as a listener of the desktop.
        func listener(_ kind: SocketKind) -> Listener {
            let key = ListenerKey(
                kind: kind, endpoint: socket.endpoint,
                isV6Only: socket.endpoint.address == .anyV6 && socket.isV6Only)
            let owner = SocketOwner(pid: ThisProcess.processID, command: "guest \(guest)")
            return Listener(key: key, uid: ThisProcess.userID, inode: 0, owner: owner)
        }
    }

    private struct Guest {
        let tell: @Sendable (ListenerChanges) -> Void
        /// Whether it is told of the others' mirrors.
        var isWatching = false
    }

    private struct State {
        var claims: [PortGroup: [Claim]] = [:]
        var last: UInt64 = 0
        var guests: [String: Guest] = [:]

        /// Tells all but one of what they are to offer.
        func tell(_ change: ListenerChange, from guest: String) {
            for (name, other) in guests where name != guest && other.isWatching {
                other.tell(ListenerChanges(neighbours: [change]))
            }
        }
    }

    private let state = Locked(State())

    /// No mirrors yet.
    package init() {}

    /// A guest's view of it.
    ///
    /// - Parameter tell: Called on any thread when another guest wants one of its places, or has a mirror that it is to
    ///   offer. It must not block.
    package func enter(
        _ guest: String, tell: @escaping @Sendable (ListenerChanges) -> Void
    ) -> GuestPlaces {
        state.withLock { $0.guests[guest] = Guest(tell: tell) }
        return GuestPlaces(self, guest)
    }

    /// From now on a guest is told of the others' mirrors, or not any more: then those that it knows are gone.
    fileprivate func watch(_ isWanted: Bool, by guest: String) {
        state.withLock { state in
            guard let watcher = state.guests[guest], watcher.isWatching != isWanted else { return }
            state.guests[guest]?.isWatching = isWanted
            let changes = state.claims.flatMap { group, claims in
                claims.filter { $0.isBound && $0.guest != guest }.map { claim in
                    let listener = claim.listener(group.kind)
                    return isWanted
                        ? ListenerChange.appeared(listener) : .vanished(listener.key)
                }
            }
            if !changes.isEmpty { watcher.tell(ListenerChanges(neighbours: changes)) }
        }
    }

    /// A mirror stands at a place that was claimed.
    fileprivate func bound(_ number: UInt64, _ group: PortGroup) {
        state.withLock { state in
            guard let index = state.claims[group]?.firstIndex(where: { $0.number == number }),
                let claim = state.claims[group]?[index]
            else { return }
            state.claims[group]?[index].isBound = true
            state.tell(.appeared(claim.listener(group.kind)), from: claim.guest)
        }
    }

    fileprivate func leave(_ guest: String) {
        // Released outside of the lock: it may own anything.
        let left = state.withLock { $0.guests.removeValue(forKey: guest) }
        withExtendedLifetime(left) {}
    }

    /// Claims a place; nil where another guest has it.
    fileprivate func claim(
        _ socket: PlannedSocket, _ group: PortGroup, for guest: String
    ) -> UInt64? {
        state.withLock { state in
            let isTaken = state.claims[group]?.contains {
                $0.guest != guest && $0.socket.collides(with: socket)
            }
            guard isTaken != true else { return nil }
            state.last += 1
            state.claims[group, default: []].append(
                Claim(number: state.last, guest: guest, socket: socket))
            return state.last
        }
    }

    fileprivate func release(_ number: UInt64, _ group: PortGroup) {
        state.withLock { state in
            if let claim = state.claims[group]?.first(where: { $0.number == number }), claim.isBound
            {
                state.tell(.vanished(claim.listener(group.kind).key), from: claim.guest)
            }
            state.claims[group]?.removeAll { $0.number == number }
            if state.claims[group]?.isEmpty == true { state.claims[group] = nil }
        }
    }

    fileprivate func neighbours(
        inTheWayOf socket: PlannedSocket, _ group: PortGroup, of guest: String
    ) -> [Neighbour] {
        state.withLock { state in
            (state.claims[group] ?? [])
                .filter { $0.guest != guest && $0.socket.collides(with: socket) }
                .map { Neighbour(guest: $0.guest, socket: $0.socket) }
        }
    }

    fileprivate func tell(_ guest: String, _ wish: PortWish) {
        state.withLock { $0.guests[guest]?.tell(ListenerChanges(wishes: [wish])) }
    }
}

/// Another guest's mirror in a socket's way.
struct Neighbour: Equatable {
    let guest: String
    let socket: PlannedSocket

    /// As the holder of an address is named.
    var holder: String { Reason.mirror(ofGuest: guest) }
}

/// What one guest can ask of the record, and has in it. Any thread.
package final class GuestPlaces: Sendable {
    private let places: SharedPlaces
    private let guest: String

    fileprivate init(_ places: SharedPlaces, _ guest: String) {
        self.places = places
        self.guest = guest
    }

    /// The guest is not here any more. What it claimed stays until that is given back.
    package func leave() { places.leave(guest) }

    /// Asks to be told of the other guests' mirrors, or not to be.
    func watch(_ isWanted: Bool) { places.watch(isWanted, by: guest) }

    /// Claims a place for a mirror that is about to be bound; nil where another guest has it.
    func claim(_ socket: PlannedSocket, _ kind: SocketKind) -> PlaceClaim? {
        let group = PortGroup(kind: kind, port: socket.endpoint.port)
        return places.claim(socket, group, for: guest).map { PlaceClaim(places, $0, group) }
    }

    /// The other guests' mirrors in a socket's way, the earliest first.
    func neighbours(inTheWayOf socket: PlannedSocket, _ kind: SocketKind) -> [Neighbour] {
        let group = PortGroup(kind: kind, port: socket.endpoint.port)
        return places.neighbours(inTheWayOf: socket, group, of: guest)
    }

    /// Asks another guest's wildcard mirror to leave an address out.
    func askForRoom(_ endpoint: Endpoint, _ kind: SocketKind, of neighbour: Neighbour) {
        places.tell(
            neighbour.guest, PortWish(kind: kind, endpoint: endpoint, process: "guest \(guest)"))
    }
}

/// A place that a mirror has. Given back once.
final class PlaceClaim {
    private let places: SharedPlaces
    private let group: PortGroup
    private var number: UInt64?

    fileprivate init(_ places: SharedPlaces, _ number: UInt64, _ group: PortGroup) {
        self.places = places
        self.number = number
        self.group = group
    }

    deinit { release() }

    /// The mirror stands there.
    func bound() {
        if let number { places.bound(number, group) }
    }

    /// Gives it back; after the socket was closed.
    func release() {
        if let number { places.release(number, group) }
        number = nil
    }
}

/// A mirror's socket at a place that was claimed for it.
final class ClaimedMirror: MirrorSocket {
    private let socket: any MirrorSocket
    private let claim: PlaceClaim

    init(_ socket: any MirrorSocket, _ claim: PlaceClaim) {
        self.socket = socket
        self.claim = claim
        claim.bound()
    }

    var planned: PlannedSocket { socket.planned }

    func pause(_ isPaused: Bool) { socket.pause(isPaused) }

    func close() {
        socket.close()
        claim.release()
    }
}
