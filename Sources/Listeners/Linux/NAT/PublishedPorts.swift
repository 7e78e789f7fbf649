internal import TwinportModel

// # From hits to listeners
//
// A port that only rules publish is a listener without a socket. How far it reaches, and where it is dialled, depends on
// the hook whose rules take it:
//
//     prerouting        other machines reach it: it counts as bound to the wildcard, or to the address that is asked for.
//                       Not if it takes some clients only: those of an interface, or by their addresses
//     output            programs of this machine reach it: dialled as they would. Alone, it counts as bound to loopback
//
//     dialled           for clients like programs here                  for others, who must not look like loopback
//     output, local     127.0.0.1 where the rule takes it               an own address
//     output, remote    the own address that is nearest to the target   the same
//     else              the target itself, or where it is redirected to, at an own address
//
// A rule that leaves out an interface takes some clients only, too. It takes all if what it leaves out is the bridge of the
// containers to which it sends, as Docker's `! -i docker0`: the target is in that interface's own network, and behind it
// there is no router. An interface that an earlier rule lets past may be any bridge without a router (Docker has such a rule
// for each of its networks).
//
// `remote` goes through an own address and not through loopback, because a packet from 127.0.0.1 leaves this machine only
// with `route_localnet` and a rule that masquerades it.

/// Turns hits into listeners. Pure.
struct PublishedPorts {
    /// So many ports of one rule are mirrored; one that takes more is no publication.
    static let mostOfOneRule = 1_024
    static let most = 2_048

    /// What the machine is like.
    struct Machine: Equatable {
        /// Its addresses, without those that mean something on one link only.
        var addresses: [IPAddress] = []
        /// Whether packets from 127.0.0.0/8 may leave it.
        var routesLoopback = false
        /// The networks of interfaces behind which there is no router, as bridges of containers are.
        var innerNetworks: [String: [AddressBlock]] = [:]
        /// The interfaces that are bridges.
        var bridges: Set<String> = []
    }

    /// A listener, and what is known of who made the rule.
    struct Found: Equatable {
        var listener: Listener
        /// The machine that the rule sends to, if that is not this one.
        var target: IPAddress?
        var comment: String
        var engine: String
    }

    private struct Place: Hashable {
        var isIPv6: Bool
        var kind: SocketKind
        var port: Port
        /// Nil: all addresses.
        var address: IPAddress?
    }

    private struct Hits {
        var output: NATHit?
        var outside: NATHit?
        /// Whether that one takes all clients.
        var isOpen = false
    }

    private let machine: Machine
    private var places: [Place: Hits] = [:]
    private(set) var found: [Found] = []
    /// Whether there are more ports, or rules for more ports, than are mirrored.
    private(set) var isCut = false
    /// How many places of hits are looked at; addresses that are compared for them count a quarter.
    private var budget = 100_000

    init(_ hits: [NATHit], on machine: Machine) {
        self.machine = machine
        for hit in hits { sort(hit) }
        // Each text is made once.
        found = places.map { make($0, $1) }.map { ($0.listener.key.sortText, $0) }
            .sorted { $0.0 < $1.0 }.map(\.1)
    }

    // MARK: Places

    private mutating func sort(_ hit: NATHit) {
        guard let ports = hit.way.ports else { return }
        guard budget > 0, PortSet.count(ports) <= Self.mostOfOneRule else {
            isCut = true
            return
        }
        if hit.way.destination != nil { budget -= machine.addresses.count / 4 }
        let isOpen = hit.hook == .prerouting && isForAll(hit)
        for isIPv6 in families(of: hit) {
            for kind in kinds(of: hit) {
                for address in addresses(of: hit, isIPv6: isIPv6) {
                    for port in ports.joined() where port != 0 {
                        note(
                            hit, isOpen,
                            Place(isIPv6: isIPv6, kind: kind, port: port, address: address))
                    }
                }
            }
        }
    }

    private func families(of hit: NATHit) -> [Bool] {
        if let isIPv6 = hit.way.isIPv6 ?? hit.target.address?.isIPv6 { return [isIPv6] }
        return [false, true]
    }

    private func kinds(of hit: NATHit) -> [SocketKind] {
        switch hit.way.transport {
        case 6: [.tcp]
        case 17: [.udp]
        case nil: [.tcp, .udp]
        default: []
        }
    }

    /// The addresses that a rule asks for, of those that this machine has.
    private func addresses(of hit: NATHit, isIPv6: Bool) -> [IPAddress?] {
        guard let block = hit.way.destination else { return [nil] }
        let loopback: IPAddress = isIPv6 ? .loopbackV6 : .loopbackV4
        let own = machine.addresses.filter { $0 != loopback && block.contains($0) }.prefix(16)
        return (block.contains(loopback) ? [loopback] : []) + own.map(Optional.init)
    }

    private mutating func note(_ hit: NATHit, _ isOpen: Bool, _ place: Place) {
        budget -= 1
        guard budget > 0, places[place] != nil || places.count < Self.most else {
            isCut = true
            return
        }
        var hits = places[place] ?? Hits()
        if places[place] == nil { budget -= comparisons(for: hit) / 4 }
        switch hit.hook {
        // The first one counts, but one for all clients before one for those of some addresses.
        case .output where hits.output.map { $0.way.isForSomeClients } ?? true:
            if hits.output == nil || !hit.way.isForSomeClients { hits.output = hit }
        case .output: break
        // One that takes all clients counts before one that takes some.
        case .prerouting where hits.outside == nil || isOpen && !hits.isOpen:
            (hits.outside, hits.isOpen) = (hit, isOpen)
        case .prerouting: break
        }
        places[place] = hits
    }

    /// How often an address is compared until it is known where a hit is dialled.
    private func comparisons(for hit: NATHit) -> Int {
        machine.addresses.count * (1 + hit.way.notDestinations.count + hit.way.notSources.count)
    }

    // MARK: Listeners

    private func make(_ place: Place, _ hits: Hits) -> Found {
        let hit = hits.output ?? hits.outside
        let wildcard: IPAddress = place.isIPv6 ? .anyV6 : .anyV4
        let loopback: IPAddress = place.isIPv6 ? .loopbackV6 : .loopbackV4
        let open = hits.isOpen ? hits.outside : nil
        let isInner = open == nil && (hits.output != nil || hits.outside == nil)
        let address = place.address ?? (isInner ? loopback : wildcard)
        let key = ListenerKey(
            kind: place.kind, endpoint: Endpoint(address, place.port),
            isV6Only: address == .anyV6)
        var publication = Publication(rule: Self.words(hit))
        (publication.near, publication.far) = ways(place, hits.output, open)
        publication.takesLocal =
            hits.output != nil && publication.near?.port == place.port
            && publication.near.map { isOwn($0.address) } == true
        var traits = SocketTraits()
        if publication.near == nil, publication.far == nil {
            traits.obstacle = .other(Self.obstacle(hits))
        }
        var listener = Listener(key: key, uid: 0, inode: 0, traits: traits)
        // Who is not like a program of this machine cannot be brought there.
        listener.isLoopbackOnly =
            publication.far == nil && publication.near?.address.isLoopback == true
        listener.published = publication
        let target = hit?.target.address
        return Found(
            listener: listener,
            target: target.flatMap { isOwn($0) ? nil : $0 }, comment: hit?.way.rule?.comment ?? "",
            engine: Self.engine(hit?.way.rule))
    }

    private static func words(_ hit: NATHit?) -> String {
        guard let hit else { return "" }
        return "\(hit.way.rule?.text ?? "a rule"): \(hit.target.text)"
    }

    private static func obstacle(_ hits: Hits) -> String {
        let ways = [hits.output, hits.outside].compactMap { $0?.way }
        if let what = ways.lazy.compactMap(\.unreadable).first {
            return "its rule asks for something that is not understood (\(what))"
        }
        if ways.contains(where: { $0.isPassed || !$0.pastInterfaces.isEmpty }) {
            return "a rule before its own lets some clients past"
        }
        if ways.contains(where: { $0.isForSomeClients || !$0.notInterfaces.isEmpty }) {
            return "its rule serves some clients only"
        }
        return "its rule cannot be followed from here"
    }

    /// Who made a rule, by how the chains are called.
    private static func engine(_ rule: NATWay.RuleName?) -> String {
        let makers: [(String, String)] = [
            ("DOCKER", "docker"), ("KUBE-", "kube-proxy"), ("CNI-", "cni-portmap"),
            ("NETAVARK", "podman"), ("nv_", "podman"), ("LIBVIRT", "libvirt"),
        ]
        guard let rule else { return "" }
        if let maker = makers.first(where: { rule.chain.hasPrefix($0.0) }) { return maker.1 }
        let tables = [
            "docker-bridges": "docker", "netavark": "podman", "kube-proxy": "kube-proxy",
            "cni_hostport": "cni-portmap",
        ]
        return tables[rule.table] ?? (rule.number.hasPrefix("rule") ? "iptables" : "nftables")
    }

    // MARK: Ways

    private func isOwn(_ address: IPAddress) -> Bool {
        address.isLoopback || machine.addresses.contains(address)
    }

    /// Whether clients of all other machines come to a rule.
    private func isForAll(_ hit: NATHit) -> Bool {
        guard hit.way.unreadable == nil, !hit.way.isForSomeClients else { return false }
        let isPassed = hit.way.pastInterfaces.contains { name in
            !machine.bridges.contains(name) || machine.innerNetworks[name] == nil
        }
        return !isPassed
            && hit.way.notInterfaces.allSatisfy { name in
                guard let target = hit.target.address else { return false }
                return machine.innerNetworks[name]?.contains { $0.contains(target) } ?? false
            }
    }

    /// Where it is dialled, for clients like programs of this machine and for others.
    private func ways(
        _ place: Place, _ output: NATHit?, _ outside: NATHit?
    ) -> (near: Endpoint?, far: Endpoint?) {
        let direct = outside.flatMap { self.direct(place, $0) }
        if let output, output.way.unreadable == nil {
            let own = self.own(place, output).map { Endpoint($0, place.port) }
            let loopback = Endpoint(place.isIPv6 ? .loopbackV6 : .loopbackV4, place.port)
            let takesLoopback =
                place.address.map(\.isLoopback) ?? true && output.way.admits(loopback.address)
                && output.way.takes(loopback.address)
            let isLocal = output.target.address.map(isOwn) ?? true
            if isLocal, takesLoopback { return (loopback, own ?? direct) }
            if let own { return (own, own) }
            if takesLoopback, machine.routesLoopback, !place.isIPv6 { return (loopback, direct) }
        }
        return (direct, direct)
    }

    /// The own address, other than loopback's, through which an output rule is dialled.
    private func own(_ place: Place, _ hit: NATHit) -> IPAddress? {
        let usable = machine.addresses.filter { address in
            !address.isLoopback && address.isIPv6 == place.isIPv6
                && place.address.map { $0 == address } ?? true && hit.way.admits(address)
                && hit.way.takes(address)
        }
        return nearest(usable, to: hit.target.address)
    }

    private func nearest(_ addresses: [IPAddress], to target: IPAddress?) -> IPAddress? {
        guard let target, addresses.count > 1 else { return addresses.first }
        // The first of several that are alike.
        var best = (address: addresses[0], bits: -1)
        for address in addresses {
            let bits = Self.commonBits(address.networkBytes, target.networkBytes)
            if bits > best.bits { best = (address, bits) }
        }
        return best.address
    }

    private static func commonBits(_ one: [UInt8], _ two: [UInt8]) -> Int {
        guard one.count == two.count else { return -1 }
        var bits = 0
        for (first, second) in zip(one, two) {
            bits += (first ^ second).leadingZeroBitCount
            if first != second { break }
        }
        return bits
    }

    /// Where a rule sends what arrives from outside, to be dialled without the rule.
    private func direct(_ place: Place, _ hit: NATHit) -> Endpoint? {
        guard !hit.target.isUnknown else { return nil }
        let port = hit.target.port(for: place.port)
        if !hit.target.isRedirect, let address = hit.target.address {
            return Endpoint(address, port)
        }
        let usable = machine.addresses.filter { $0.isIPv6 == place.isIPv6 }
        let mine = place.address ?? usable.first { !$0.isLoopback } ?? usable.first
        // The same port, redirected to itself: a socket there would be a listener.
        guard let mine, port != place.port else { return nil }
        return Endpoint(mine, port)
    }
}

extension ListenerKey {
    /// Puts listeners in an order.
    fileprivate var sortText: String { "\(endpoint.port)/\(kind.rawValue)/\(endpoint.address)" }
}
