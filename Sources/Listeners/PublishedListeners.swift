internal import TwinportModel

// Listeners without a socket among those with one. Pure. A socket wins: where one listens at an address, or at a wildcard
// that has it, the rule is not shown beside it. A socket that only looks like a listener does not win: newer Dockers bind
// the ports that they publish, and do not listen.
//
// A published port belongs to its container, whichever process holds a socket there (dockerd, podman's): where that socket
// is root's, and at the published address or within a published wildcard, its listener is shown with the rule's container.
//
// A socket at the very address that a rule takes gets no connection: the packet filter comes first. Its listener is shown,
// and dialled as the rule is: a client with another machine's address would never get its answers past the filter.

/// Joins what rules publish with what sockets do.
struct PublishedListeners {
    private var published: [ListenerKey: Listener] = [:]
    private var shown: [ListenerKey: Listener] = [:]
    private var containers: [PortGroup: [IPAddress: Container]] = [:]
    /// The rules that take all that is sent to an address.
    private var taken: [ListenerKey: Publication] = [:]

    init() {}

    /// Takes over changes of sockets, and what is published if that is news.
    ///
    /// - Parameter sockets: All listeners with a socket, after the changes.
    /// - Returns: The changes of all listeners.
    mutating func merge(
        _ changes: [ListenerChange], _ news: [Listener]?, sockets: [ListenerKey: Listener]
    ) -> [ListenerChange] {
        // Ten times a second there is neither.
        guard news != nil || !(changes.isEmpty || published.isEmpty) else { return changes }
        let before = (containers: containers, taken: taken)
        if let news { replace(news) }
        let last = shown
        shown = published.filter { !Self.isServed($0.key, by: sockets) }
        var result: [ListenerChange] = []
        var told: Set<ListenerKey> = []
        for change in changes where shown[change.key] == nil {
            told.insert(change.key)
            result.append(passing(change))
        }
        for key in last.keys where shown[key] == nil && !told.contains(key) {
            told.insert(key)
            result.append(sockets[key].map { .updated(attributed($0)) } ?? .vanished(key))
        }
        for (key, listener) in shown where last[key] != listener {
            told.insert(key)
            result.append(last[key] == nil ? .appeared(listener) : .updated(listener))
        }
        guard before.containers != containers || before.taken != taken else { return result }
        for (key, socket) in sockets where !told.contains(key) && shown[key] == nil {
            if Self.container(at: key, in: before.containers)
                != Self.container(at: key, in: containers) || before.taken[key] != taken[key]
            {
                result.append(.updated(attributed(socket)))
            }
        }
        return result
    }

    private mutating func replace(_ news: [Listener]) {
        published = Dictionary(news.map { ($0.key, $0) }) { first, _ in first }
        containers = [:]
        taken = published.compactMapValues(\.published).filter(\.value.takesLocal)
        for listener in news {
            guard let container = listener.owner?.container else { continue }
            let address = listener.key.endpoint.address
            containers[PortGroup(of: listener.key), default: [:]][address] = container
        }
    }

    /// The container to which all goes that comes to a socket's address.
    private static func container(
        at key: ListenerKey, in containers: [PortGroup: [IPAddress: Container]]
    ) -> Container? {
        guard let places = containers[PortGroup(of: key)] else { return nil }
        let address = key.endpoint.unmapped.address
        if let exact = places[address] { return exact }
        // One of both families is its container's if one family is.
        if address == .anyV6, !key.isV6Only { return places[.anyV4] }
        return places[address.isIPv6 ? .anyV6 : .anyV4]
    }

    /// Whether a socket takes what comes to an address.
    private static func isServed(
        _ key: ListenerKey, by sockets: [ListenerKey: Listener]
    ) -> Bool {
        let port = key.endpoint.port
        func has(_ address: IPAddress, _ isV6Only: Bool) -> Bool {
            let other = ListenerKey(
                kind: key.kind, endpoint: Endpoint(address, port), isV6Only: isV6Only)
            return sockets[other].map { $0.traits.obstacle == nil } ?? false
        }
        if has(key.endpoint.address, key.isV6Only) || has(.anyV6, false) { return true }
        return key.endpoint.address.isIPv6 ? has(.anyV6, true) : has(.anyV4, false)
    }

    /// A change of a socket's listener, as it is told.
    private func passing(_ change: ListenerChange) -> ListenerChange {
        switch change {
        case .appeared(let listener): .appeared(attributed(listener))
        case .updated(let listener): .updated(attributed(listener))
        case .vanished: change
        }
    }

    /// The listener of a socket, with the container that its port belongs to; nil where a rule is shown instead.
    func passing(_ listener: Listener) -> Listener? {
        shown[listener.key] == nil ? attributed(listener) : nil
    }

    private func attributed(_ listener: Listener) -> Listener {
        var listener = listener
        if !taken.isEmpty, listener.traits.obstacle == nil, let rule = taken[listener.key] {
            listener.published = rule
        }
        let known = listener.owner?.container
        guard !containers.isEmpty, listener.uid == 0, known == nil || known == .unknown,
            let container = Self.container(at: listener.key, in: containers)
        else { return listener }
        // The container is known before the process is.
        if listener.owner == nil { listener.owner = SocketOwner(pid: 0, command: "") }
        listener.owner?.container = container
        return listener
    }
}
