internal import Listeners
internal import TwinportModel

/// What listens on this machine, by protocol and port: what is in the way of a mirror. Pure. Loop thread only.
final class LocalListeners {
    /// By key, with the order in which they appeared.
    private var groups: [PortGroup: [ListenerKey: Member]] = [:]
    private var nextSequence: UInt64 = 0
    /// The places where forwards listen on this machine, or are to.
    private(set) var forwards: [ForwardSocket] = []

    /// Where a forward listens: the settings name the place, so no mirror stands there.
    struct ForwardSocket: Equatable {
        let socket: PlannedSocket
        /// Its number in the settings.
        let number: Int
    }

    private struct Member {
        var listener: Listener
        let sequence: UInt64
    }

    /// Takes over a difference that the watcher saw.
    ///
    /// - Returns: The listener that is gone, if one is.
    @discardableResult
    func apply(_ change: ListenerChange) -> Listener? {
        switch change {
        case .appeared(let listener), .updated(let listener):
            // What is in another network namespace is in nobody's way.
            if listener.traits.obstacle == .otherNamespace { return remove(listener.key) }
            put(listener)
        case .vanished(let key): return remove(key)
        }
        return nil
    }

    /// In place: a group may have as many members as loopback has addresses.
    private func put(_ listener: Listener) {
        let group = PortGroup(of: listener.key)
        if groups[group]?[listener.key] != nil {
            groups[group]?[listener.key]?.listener = listener
            return
        }
        groups[group, default: [:]][listener.key] = Member(
            listener: listener, sequence: nextSequence)
        nextSequence += 1
    }

    private func remove(_ key: ListenerKey) -> Listener? {
        let group = PortGroup(of: key)
        let member = groups[group]?.removeValue(forKey: key)
        if groups[group]?.isEmpty == true { groups[group] = nil }
        return member?.listener
    }

    /// The listener here that is in the way of a mirror's socket, if one is known; the earliest of several.
    func holder(of planned: PlannedSocket, kind: SocketKind) -> Listener? {
        colliding(with: planned, kind).min { $0.sequence < $1.sequence }?.listener
    }

    /// Takes over where forwards listen.
    ///
    /// - Returns: The ports at which that is another place, or forward.
    func setForwards(_ list: [ForwardSocket]) -> Set<Port> {
        let changed =
            list.filter { !forwards.contains($0) } + forwards.filter { !list.contains($0) }
        forwards = list
        return Set(changed.map(\.socket.endpoint.port))
    }

    /// The forwards that are in the way of a mirror's socket.
    func forwards(at planned: PlannedSocket, kind: SocketKind) -> [ForwardSocket] {
        guard kind == .tcp, !forwards.isEmpty else { return [] }
        return forwards.filter { $0.socket.collides(with: planned) }
    }

    /// The first of these.
    func forward(at planned: PlannedSocket, kind: SocketKind) -> ForwardSocket? {
        forwards(at: planned, kind: kind).first
    }

    /// All of them, the earliest first.
    func holders(of planned: PlannedSocket, kind: SocketKind) -> [Listener] {
        colliding(with: planned, kind).sorted { $0.sequence < $1.sequence }.map(\.listener)
    }

    /// The program here that clients of `localhost` mean, where a mirror's socket would answer them in the other family:
    /// it has this port of 127.0.0.1 and the socket would have that of [::1], or the other way round. Other Twinports'
    /// mirrors do not count: two that made room for each other would both be gone.
    func otherFamily(of planned: PlannedSocket, kind: SocketKind) -> Listener? {
        let isV6 = planned.endpoint.address.isIPv6
        guard planned.servesLocalhost(isV6: isV6),
            let members = groups[PortGroup(kind: kind, port: planned.endpoint.port)]
        else { return nil }
        return members.values.filter { member in
            let held = PlannedSocket(of: member.listener.key)
            return !member.listener.isMirror && member.listener.traits.obstacle == nil
                && held.servesLocalhost(isV6: !isV6) && !held.servesLocalhost(isV6: isV6)
        }.min { $0.sequence < $1.sequence }?.listener
    }

    /// Only a wildcard has to be compared with every member. Another address meets itself and the wildcards.
    private func colliding(with planned: PlannedSocket, _ kind: SocketKind) -> [Member] {
        guard let members = groups[PortGroup(kind: kind, port: planned.endpoint.port)] else {
            return []
        }
        let address = planned.endpoint.address
        let candidates =
            address.isWildcard
            ? Array(members.values)
            : [address, .anyV4, .anyV6].flatMap { address in
                [true, false].compactMap { isV6Only in
                    members[
                        ListenerKey(
                            kind: kind, endpoint: Endpoint(address, planned.endpoint.port),
                            isV6Only: isV6Only)]
                }
            }
        return candidates.filter { member in
            planned.collides(with: PlannedSocket(of: member.listener.key))
        }
    }
}

extension PlannedSocket {
    /// Whether clients of 127.0.0.1, or of [::1], reach a socket bound like this.
    func servesLocalhost(isV6: Bool) -> Bool {
        switch endpoint.address {
        case .loopbackV4, .anyV4: !isV6
        case .loopbackV6: isV6
        case .anyV6: isV6 || !isV6Only
        default: false
        }
    }

    /// What a local listener occupies.
    init(of key: ListenerKey) {
        self.init(endpoint: key.endpoint.unmapped, isV6Only: key.blocksOnlyV6)
    }
}

extension ListenerKey {
    /// Whether a socket bound like this leaves IPv4 alone.
    fileprivate var blocksOnlyV6: Bool {
        endpoint.address.isIPv6 && (isV6Only || endpoint.address != .anyV6)
    }
}
