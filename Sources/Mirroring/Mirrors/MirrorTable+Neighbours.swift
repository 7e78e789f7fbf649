internal import TwinportModel

// Mirrors of other guests, and the address that a guest may have for itself: see SharedPlaces.swift.

extension MirrorTable {
    /// What another guest's mirror in a socket's way makes of it; nil: none is.
    func neighbour(to socket: PlannedSocket, of entry: MirrorEntry) -> MirrorEntry.Outcome? {
        sockets.neighbours(inTheWayOf: socket, entry.key.kind).first.map { neighbour in
            .init(
                state: .conflict,
                reason: .guestHolds(neighbour.guest, neighbour.socket.endpoint))
        }
    }

    /// At its own address a guest's mirror goes before others' wildcards, which stand around it then.
    func askForRoom(for socket: PlannedSocket, of entry: MirrorEntry) {
        guard socket.endpoint.address == policy.mirrorAddress else { return }
        for neighbour in sockets.neighbours(inTheWayOf: socket, entry.key.kind)
        where neighbour.socket.endpoint.address.isWildcard {
            sockets.askForRoom(socket.endpoint, entry.key.kind, of: neighbour)
        }
    }

    /// Whether a mirror at the guest's own address serves a listener beside the one that it stands for: programs
    /// that listen at `localhost` do so in both families.
    func servesAtOwnAddress(_ cover: PlannedSocket, _ own: ListenerKey) -> Bool {
        guard let address = policy.mirrorAddress, cover.endpoint.address == address else {
            return false
        }
        let meant = own.endpoint.unmapped.address
        return meant == .loopbackV4 || meant == .loopbackV6
    }
}

extension MirrorSocketFactory {
    /// A factory of one guest has no others.
    func neighbours(inTheWayOf planned: PlannedSocket, _ kind: SocketKind) -> [Neighbour] { [] }

    /// The same.
    func askForRoom(_ endpoint: Endpoint, _ kind: SocketKind, of neighbour: Neighbour) {}
}
