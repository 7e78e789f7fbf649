internal import TwinportModel

// Mirrors that a rule puts elsewhere than at their listeners' ports: see Remaps.swift.

extension MirrorTable {
    /// How many ports after a taken one are looked at, and how many binds are tried at them at most.
    private static let nextPorts = (looks: 1_000, tries: 32)

    /// Says where an entry's mirror is to be, and moves the plan to the port that was taken instead.
    ///
    /// - Returns: Whether there is room for one more mirror.
    func place(_ plan: inout [PlannedSocket], of entry: MirrorEntry) -> Bool {
        if entry.isLoopbackOnly { plan = plan.onLoopback }
        let port = plan[0].endpoint.port
        entry.isNext = false
        if entry.rule?.takesNextPort != true {
            remaps.forgetKept(entry.key)
        } else if let kept = remaps.kept(for: entry.key, instead: port), hasRoom(kept, entry) {
            entry.isNext = kept != port
            entry.port = kept
            plan = plan.at(kept)
            return true
        }
        guard hasRoom(port, entry) else { return false }
        entry.port = port
        return true
    }

    private func hasRoom(_ port: Port, _ entry: MirrorEntry) -> Bool {
        let place = PortGroup(kind: entry.key.kind, port: port)
        return place == entry.group || entry.sockets.first?.planned.endpoint.port == port
            || !remaps.isFull(place, for: entry.group)
    }

    /// The mirrors of other groups that are in a socket's way.
    func rivals(of socket: PlannedSocket, _ entry: MirrorEntry) -> [MirrorEntry] {
        let place = PortGroup(kind: entry.key.kind, port: socket.endpoint.port)
        var others = remaps.standing(at: place)
        if place != entry.group { others += groups[place] ?? [] }
        return others.filter { other in
            other.group != entry.group
                && other.sockets.contains { $0.planned.collides(with: socket) }
        }
    }

    /// The mirror of another group that a socket must not displace.
    func rival(to socket: PlannedSocket, of entry: MirrorEntry) -> MirrorEntry.Outcome? {
        for other in rivals(of: socket, entry) where !entry.outranks(other) {
            guard let theirs = other.mirror(inTheWayOf: socket) else { continue }
            return .init(
                state: .conflict,
                reason: .mirrorHolds(listener: other.key.endpoint.unmapped, theirs.endpoint))
        }
        return nil
    }

    /// What a mirror of the same group says of a socket that it covers: it serves the listener, or a rule sent two
    /// listeners to one place.
    func served(
        _ socket: PlannedSocket, of entry: MirrorEntry, among order: [MirrorEntry]
    ) -> MirrorEntry.Outcome? {
        for other in order where other !== entry {
            guard let cover = other.sockets.first(where: { $0.planned.covers(socket) })?.planned
            else { continue }
            let own = PlannedSocket(of: entry.key)
            let isOne = entry.rule == nil || PlannedSocket(of: other.key).covers(own)
            // Clients at 127.0.0.1 get no listener on 127.0.0.2.
            let isReached =
                own.endpoint.address.isWildcard
                || [own].at(socket.endpoint.port).allSatisfy(cover.covers)
                || servesAtOwnAddress(cover, entry.key)
            if isOne, isReached {
                return .init(state: .covered, reason: .coveredBy(cover.endpoint))
            }
            let listener = other.key.endpoint.unmapped
            return .init(state: .conflict, reason: .mirrorHolds(listener: listener, cover.endpoint))
        }
        return nil
    }

    /// Binds an entry's mirror at the next port where nothing is in the way, if a rule says so.
    ///
    /// - Returns: The outcome; nil when it stays without a mirror.
    func takeNextPort(
        for entry: MirrorEntry, _ whole: [PlannedSocket], among order: [MirrorEntry]
    ) -> MirrorEntry.Outcome? {
        guard entry.rule?.takesNextPort == true, entry.backoff.maySearch(clock()),
            pending.looks.take(1 + order.count / 8),
            remaps.mayKeep(entry.key)
        else { return nil }
        let first = entry.isNext ? remaps.instead(for: entry.key) ?? entry.port : entry.port
        // Found once, not for each port.
        let own = PlannedSocket(of: entry.key)
        let broader = order.filter { $0 !== entry && PlannedSocket(of: $0.key).covers(own) }
        change(entry) { $0.closeSockets() }
        var tries = 0
        let last = min(Int(first) + Self.nextPorts.looks, 65_535)
        for port in max(Int(first), min(entry.backoff.searched, last))...last {
            let place = PortGroup(kind: entry.key.kind, port: Port(port))
            guard pending.looks.take(1 + remaps.standing(at: place).count / 8) else {
                entry.backoff.searched = port
                return nil
            }
            if let outcome = openNext(whole.at(Port(port)), of: entry, among: broader, &tries) {
                take(Port(port), instead: first, for: entry)
                return outcome
            }
            if tries >= Self.nextPorts.tries { break }
        }
        entry.backoff.searchFailed(clock())
        return nil
    }

    /// Binds an entry's mirror at one of the ports that are looked at.
    ///
    /// - Returns: The outcome; nil when it cannot be there.
    private func openNext(
        _ plan: [PlannedSocket], of entry: MirrorEntry, among broader: [MirrorEntry],
        _ tries: inout Int
    ) -> MirrorEntry.Outcome? {
        if let cover = served(plan[0], of: entry, among: broader), cover.state == .covered {
            return cover
        }
        guard isFree(plan, for: entry) else { return nil }
        tries += 1
        if plan.allSatisfy({ open($0, for: entry) == nil }) {
            return .init(state: .active, reason: .none)
        }
        change(entry) { $0.closeSockets() }
        return nil
    }

    private func take(_ port: Port, instead first: Port, for entry: MirrorEntry) {
        remaps.keep(port, instead: first, for: entry.key)
        entry.port = port
        entry.isNext = port != first
        entry.backoff = RebindBackoff()
    }

    /// Whether nothing that is known has, or is to have, what a mirror would take instead of its own port.
    private func isFree(_ plan: [PlannedSocket], for entry: MirrorEntry) -> Bool {
        let place = PortGroup(kind: entry.key.kind, port: plan[0].endpoint.port)
        if place != entry.group, groups[place] != nil { return false }
        if remaps.isWanted(place, byOthersThan: entry.group) || !hasRoom(place.port, entry) {
            return false
        }
        let others = remaps.standing(at: place)
        return plan.allSatisfy { socket in
            !others.contains { $0 !== entry && $0.mirror(inTheWayOf: socket) != nil }
                && local.holder(of: socket, kind: entry.key.kind) == nil
                && obstacle(to: socket, of: entry) == nil
        }
    }
}

extension MirrorEntry {
    /// The socket of its mirror that is in the way of another one.
    func mirror(inTheWayOf socket: PlannedSocket) -> PlannedSocket? {
        sockets.first { $0.planned.collides(with: socket) }?.planned
    }
}

extension ListenerFacts {
    /// A listener of the peer.
    init(_ entry: MirrorEntry) {
        self.init(
            entry.key.kind.transport ?? .tcp, entry.key.endpoint, uid: entry.owner.uid,
            owner: entry.owner.text, container: entry.owner.container)
        // Of a published port no process is ever known: its maker stands for one.
        if process == nil, !entry.owner.published.isEmpty { process = entry.owner.text }
    }
}
