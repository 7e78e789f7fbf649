internal import TwinportModel

// A wildcard mirror beside local programs that have single addresses of its port: the guest's DNS server on
// 0.0.0.0:53, the desktop's systemd-resolved on 127.0.0.53:53. The wildcard cannot be bound then. What can is every
// other address of the machine, one socket each; the reason says which one is left out. Addresses that come and go are
// noticed at the next retry. An address of the other family that means the same to clients of `localhost` is left out,
// too: beside a program on 127.0.0.1, [::1] is not ours.

extension MirrorTable {
    /// Sockets at which a plan is carried out.
    struct Parts: Equatable {
        var plan: [PlannedSocket]
        /// Why it is not the whole plan; `none` when it is.
        var reason = Reason.none
    }

    /// What can be bound of a plan around the single addresses that others have, or that are kept free; the plan itself
    /// where nothing is in the way of it, or everything.
    func parts(of plan: [PlannedSocket], _ entry: MirrorEntry) -> Parts {
        guard plan.count == 1, plan[0].endpoint.address.isWildcard else { return Parts(plan: plan) }
        let whole = plan[0]
        let obstacles = obstacles(to: whole, entry)
        guard let reason = obstacles.first?.reason else { return Parts(plan: plan) }
        let around = families(of: whole).flatMap { isV6 in
            sockets(of: whole, isV6: isV6, around: obstacles.map(\.socket))
        }
        return around.isEmpty ? Parts(plan: plan) : Parts(plan: around, reason: reason)
    }

    private func obstacles(
        to whole: PlannedSocket, _ entry: MirrorEntry
    ) -> [(socket: PlannedSocket, reason: Reason)] {
        var found = local.holders(of: whole, kind: entry.key.kind).map { holder in
            let place = PlannedSocket(of: holder.key)
            return (place, Reason.allBut(place.endpoint, owner: holder.holder))
        }
        for isV6 in families(of: whole) {
            var family = whole
            family.endpoint.address = isV6 ? .anyV6 : .anyV4
            family.isV6Only = isV6
            guard let holder = otherFamily(of: family, entry) else { continue }
            let place = PlannedSocket(of: holder.key)
            if !place.endpoint.address.isWildcard {
                family.endpoint.address = isV6 ? .loopbackV6 : .loopbackV4
            }
            found.append(
                (family, .allBut(place.endpoint, owner: holder.owner?.text ?? "")))
        }
        for other in rivals(of: whole, entry) where !entry.outranks(other) {
            guard let place = other.mirror(inTheWayOf: whole) else { continue }
            let owner = "the mirror of \(other.key.endpoint.unmapped)"
            found.append((place, .allBut(place.endpoint, owner: owner)))
        }
        for forward in local.forwards(at: whole, kind: entry.key.kind) {
            let owner = Reason.forward(forward.number)
            found.append((forward.socket, .allBut(forward.socket.endpoint, owner: owner)))
        }
        for neighbour in sockets.neighbours(inTheWayOf: whole, entry.key.kind) {
            let place = neighbour.socket
            found.append((place, .allBut(place.endpoint, owner: neighbour.holder)))
        }
        if let kept = holds.kept(for: entry.key, at: clock()), kept.address.collides(with: whole) {
            found.append((kept.address, kept.reason))
        }
        return found
    }

    private func families(of whole: PlannedSocket) -> [Bool] {
        guard whole.endpoint.address.isIPv6 else { return [false] }
        return whole.isV6Only ? [true] : [false, true]
    }

    /// The sockets for one family: its wildcard if nothing of the family is in the way.
    private func sockets(
        of whole: PlannedSocket, isV6: Bool, around obstacles: [PlannedSocket]
    ) -> [PlannedSocket] {
        func socket(_ address: IPAddress) -> PlannedSocket {
            var socket = whole
            socket.endpoint.address = address
            socket.isV6Only = isV6
            return socket
        }
        let family = socket(isV6 ? .anyV6 : .anyV4)
        guard obstacles.contains(where: { $0.collides(with: family) }) else { return [family] }
        return sockets.localAddresses().filter { $0.isIPv6 == isV6 }.map(socket)
            .filter { candidate in !obstacles.contains { $0.collides(with: candidate) } }
    }
}
