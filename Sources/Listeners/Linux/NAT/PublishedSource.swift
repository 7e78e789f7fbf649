internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

// # Ports that only rules publish
//
//     nftables ──notification──▶ isNoted ─▶ dump ─▶ NATWalk ─▶ hits ─▶ PublishedPorts ─▶ listeners
//     addresses ─notification──▶ ──────────────────────────────────────▲
//     iptables-legacy, IPVS: compared every two seconds, where they have something
//
// Nothing is read between notifications. Where the kernel does not notify, nftables' generation number is asked for every
// two seconds. A dump is followed by a pause of fifty times its cost, so that a machine whose rules change all the time
// pays 2 % of a core. Everything happens on the watcher's thread.

/// Finds them, and the containers behind them. Owned by the watcher's thread.
final class PublishedSource {
    private static let pollEvery: UInt64 = 2_000
    private static let ownersEvery: UInt64 = 500
    private static let tries = 7
    /// So many addresses of the machine are looked at.
    private static let mostAddresses = 256
    /// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR: an interface has its network while it is up.
    private static let addressGroups: [Int32] = [1, 5, 9]

    private let reader = RuleReader()
    private let services: ServiceReader
    private let links = Links()
    private let finder: any ProcessFinder
    private var rules = Rules()
    private var pace = Pace()
    private var owners = Owners()
    private var watches: [Watch] = []
    private var listeners: [Listener] = []
    /// Whether rules can be read and how, for reports; `none: ` and why where not.
    private(set) var state = ""

    /// What was read.
    private struct Rules {
        var hits: [NATHit] = []
        var legacy = NATRuleset()
        /// How they were read, or why not.
        var state = ""
        var generation: UInt32?
        var found: [PublishedPorts.Found] = []
        var isCut = false
    }

    /// When to read again.
    private struct Pace {
        var isNoted = true
        var areAddressesNoted = true
        /// Not before this.
        var pausesUntil: Instant?
        var pollsAt: Instant?
        var legacy = RareLook(every: PublishedSource.pollEvery)
    }

    /// Who is behind the addresses that rules lead to.
    private struct Owners {
        var known: [IPAddress: SocketOwner] = [:]
        var wanted: [IPAddress: Int] = [:]
        var dueAt: Instant?
    }

    /// A socket that tells of changes.
    private final class Watch {
        let socket: DiagSocket
        var poller: Poller?
        init(_ subject: DiagSocket.Subject, _ groups: [Int32]) throws(SystemError) {
            socket = try DiagSocket(about: subject)
            // The kernel leaves out a socket without a port of its own.
            try socket.bind(port: 0)
            for group in groups { try socket.join(group: group) }
        }
    }

    /// - Parameter services: Where the kernel lists those of IPVS.
    init(finder: any ProcessFinder, services: String = ServiceReader.ownTable) {
        self.finder = finder
        self.services = ServiceReader(services)
    }

    // MARK: Notifications

    /// Asks the kernel to tell of changes.
    func startHints(on loop: Loop, wake: @escaping () -> Void) {
        guard watches.isEmpty else { return }
        watch(.links, Self.addressGroups, on: loop) { [unowned self] in
            pace.areAddressesNoted = true
        }
        watch(.filters, [NFTMessage.group], on: loop) { [unowned self] in
            if !pace.isNoted { wake() }
            pace.isNoted = true
        }
    }

    private func watch(
        _ subject: DiagSocket.Subject, _ groups: [Int32], on loop: Loop,
        _ noted: @escaping () -> Void
    ) {
        // Without it the rules are polled.
        guard let watch = try? Watch(subject, groups) else { return }
        watch.poller = try? Poller(loop: loop, descriptor: watch.socket.descriptor) {
            [unowned watch] events in
            watch.socket.drain()
            // ENOBUFS shows as an error and stops the poller.
            if events.contains(.failed) { watch.poller?.watch(.readable) }
            noted()
        }
        watch.poller?.watch(.readable)
        watches.append(watch)
    }

    /// Takes ``startHints(on:wake:)`` back.
    func stopHints() {
        for watch in watches { watch.poller?.close() }
        watches = []
        pace.isNoted = true
        pace.areAddressesNoted = true
    }

    private var isTold: Bool { watches.count == 2 }

    // MARK: Reading

    /// The listeners, if they may be others than at the last call.
    func refresh(at now: Instant) -> [Listener]? {
        poll(at: now)
        let isDue = pace.isNoted && pace.pausesUntil.map { now >= $0 } ?? true
        let haveRulesChanged = isDue && read(at: now)
        if haveRulesChanged || pace.areAddressesNoted { derive(at: now) }
        let areOwnersNews = findOwners(at: now)
        guard haveRulesChanged || pace.areAddressesNoted || areOwnersNews else { return nil }
        pace.areAddressesNoted = false
        let fresh = rules.found.map(owned)
        guard fresh != listeners else { return nil }
        listeners = fresh
        return fresh
    }

    /// Looks at what the kernel does not tell of.
    private func poll(at now: Instant) {
        var pace = pace
        defer { self.pace = pace }
        let (reader, services) = (reader, services)
        var areServicesOther = false
        let isNews = pace.legacy.look(at: now) {
            areServicesOther = services.isOther()
            var legacy = NATRuleset()
            for isIPv6 in [false, true] where RuleReader.hasLegacy(isIPv6: isIPv6) {
                if let table = reader.legacy(isIPv6: isIPv6) { legacy.add(table) }
            }
            guard legacy != rules.legacy else { return false }
            rules.legacy = legacy
            return true
        }
        if isNews { pace.isNoted = true }
        // They lead to no rule: only the listeners are made anew.
        if areServicesOther { pace.areAddressesNoted = true }
        guard !isTold, pace.pollsAt.map({ now >= $0 }) ?? true else { return }
        pace.pollsAt = now + Self.pollEvery
        pace.areAddressesNoted = true
        let generation = reader.generation()
        if generation == nil || generation != rules.generation { pace.isNoted = true }
        rules.generation = generation
    }

    /// Reads the rules.
    ///
    /// - Returns: Whether that came to an end, and the hits may be others.
    private func read(at now: Instant) -> Bool {
        let start = ThisMachine.threadTime
        defer {
            let milliseconds = (ThisMachine.threadTime &- start) / 1_000_000
            pace.pausesUntil = now + max(20, milliseconds * 50)
        }
        var ruleset = rules.legacy
        switch reader.nftables() {
        case .outdated: return false
        case .refused(let why):
            rules.state = "none: \(why)"
            if !ruleset.bases.isEmpty { rules.state = "iptables-legacy; nftables: \(why)" }
        case .read(let read):
            ruleset.add(read)
            rules.state = "nftables" + (rules.legacy.bases.isEmpty ? "" : ", iptables-legacy")
            if !isTold { rules.state += ", every two seconds" }
        }
        pace.isNoted = false
        let walk = NATWalk(ruleset)
        rules.hits = walk.hits
        rules.isCut = walk.isCut
        return true
    }

    /// Makes listeners of the hits, and of IPVS' services.
    private func derive(at now: Instant) {
        let links = links?.all(at: now) ?? []
        let ports = PublishedPorts(
            rules.hits, on: rules.hits.isEmpty ? .init() : Self.machine(for: rules.hits, links))
        rules.found = ports.found
        var areTooMany = false
        if !services.known.isEmpty {
            let inner = Set(links.filter { $0.kind == "dummy" }.map(\.name))
            let nodes = Network.addresses(without: inner).prefix(Self.mostAddresses)
            let served = PublishedPorts.found(services.known, nodes: Array(nodes))
            areTooMany = served.count > PublishedPorts.most
            rules.found += served.prefix(PublishedPorts.most)
        }
        state = Self.state(rules.state, withServices: !services.known.isEmpty)
        if rules.isCut || ports.isCut || services.isCut || areTooMany {
            state += "; some rules are left out: there are too many, or they take too many ports"
        }
        // Its programs in the kernel publish ports, too.
        if links.contains(where: { $0.name == "cilium_host" }) {
            state += "; not read: what Cilium's eBPF programs publish"
        }
        noteTargets()
    }

    /// Where no rules can be read, why is all there is to say: reports show what follows `none`.
    static func state(_ rules: String, withServices: Bool) -> String {
        withServices && !rules.hasPrefix("none: ") ? "\(rules), IPVS" : rules
    }

    private func noteTargets() {
        let targets = Set(rules.found.compactMap(\.target))
        owners.known = owners.known.filter { targets.contains($0.key) }
        owners.wanted = owners.wanted.filter { targets.contains($0.key) }
        for target in targets where owners.known[target] == nil && owners.wanted[target] == nil {
            owners.wanted[target] = 0
            owners.dueAt = nil
        }
    }

    private static func machine(
        for hits: [NATHit], _ links: [NetworkLink]
    ) -> PublishedPorts.Machine {
        let folder = "/proc/sys/net/ipv4/conf"
        let routes = SystemFiles.names(in: folder).contains { name in
            !name.hasPrefix(".")
                && SystemFiles.text("\(folder)/\(name)/route_localnet")?.first == "1"
        }
        // Routes are many on some machines.
        let areNetworksAsked = hits.contains {
            !$0.way.notInterfaces.isEmpty || !$0.way.pastInterfaces.isEmpty
        }
        return PublishedPorts.Machine(
            addresses: Array(Network.addresses().prefix(mostAddresses)), routesLoopback: routes,
            innerNetworks: areNetworksAsked ? NetworkFiles.innerNetworks() : [:],
            bridges: Set(links.filter { $0.kind == "bridge" }.map(\.name)))
    }

    // MARK: Owners

    /// Looks for the containers behind new targets: at once, and again in doubling gaps.
    private func findOwners(at now: Instant) -> Bool {
        guard !owners.wanted.isEmpty, owners.dueAt.map({ now >= $0 }) ?? true else { return false }
        let tried = owners.wanted.values.min() ?? 0
        owners.dueAt = now + Self.ownersEvery << UInt64(min(tried, Self.tries))
        let found = finder.owners(at: Set(owners.wanted.keys)) ?? [:]
        for (address, tries) in owners.wanted {
            let isOver = found[address] != nil || tries + 1 >= Self.tries
            owners.wanted[address] = isOver ? nil : tries + 1
        }
        owners.known.merge(found) { $1 }
        return !found.isEmpty
    }

    /// The listener with its owner: a process of the container that the rule leads to, or else who made the rule.
    private func owned(_ found: PublishedPorts.Found) -> Listener {
        var listener = found.listener
        if let owner = found.target.flatMap({ owners.known[$0] }) {
            listener.owner = owner
        } else {
            let container = Container(ruleComment: found.comment)
            let comment = printable(found.comment)
            let name = container == nil && !comment.isEmpty ? comment : found.engine
            listener.owner = SocketOwner(maker: name, container: container)
        }
        return listener
    }
}

extension SocketOwner {
    /// Who made a rule: no process.
    init(maker: String, container: Container?) {
        // A slash would end a process's number.
        let name = String(maker.map { $0 == "/" ? ":" : $0 })
        self.init(pid: 0, command: printable(name), container: container)
    }
}

extension Container {
    /// The container that an engine names beside its rule, as `dnat name: "podman" id: "5a…"` of CNI and netavark.
    init?(ruleComment text: String) {
        let isDigit: (Character) -> Bool = { $0.isHexDigit && !$0.isUppercase }
        let id = text.split { !isDigit($0) }.first { $0.count == 64 }
        guard let id else { return nil }
        self.init(id: String(id), name: "")
    }
}
