import TestSupport
import Testing
import TwinportModel

@testable import Listeners

private typealias E = Expression

let machine = PublishedPorts.Machine(
    addresses: [
        .loopbackV4, .loopbackV6, IPAddress("10.77.1.1")!, IPAddress("10.88.0.1")!,
        IPAddress("fd77::2")!,
    ],
    innerNetworks: ["docker0": [AddressBlock([10, 88], isIPv6: false)!]])

/// `dnat to 10.88.0.2:80` as iptables writes it, revision 2.
private let toContainer: [UInt8] =
    [3, 0, 0, 0] + [10, 88, 0, 2] + [UInt8](repeating: 0, count: 12) + [10, 88, 0, 2]
    + [UInt8](repeating: 0, count: 12) + half(80) + half(80) + [0, 0, 0, 0]
private let ownType: [UInt8] = [0, 0, 4, 0, 0, 0, 0, 0]

/// Each listener as `tcp 0.0.0.0:80 near … far …: rule`.
func published(
    _ ruleset: NATRuleset, on machine: PublishedPorts.Machine = machine
) -> [String] {
    PublishedPorts(NATWalk(ruleset).hits, on: machine).found.map { found in
        let listener = found.listener
        let publication = listener.published ?? Publication(rule: "")
        let ways = [("near", publication.near), ("far", publication.far)]
            .compactMap { name, way in way.map { "\(name) \($0)" } }
        let obstacle = listener.traits.obstacle.map { ["not: \($0.text)"] } ?? []
        return ([listener.key.kind.name, "\(listener.key.endpoint)"] + ways + obstacle)
            .joined(separator: " ") + "; \(publication.rule)"
    }
}

@Suite struct PublishedPortsTests {
    /// What Docker writes with its proxy off, as iptables-nft keeps it.
    private var docker: Messages {
        var messages = Messages()
        messages.base("PREROUTING", 0)
        messages.base("OUTPUT", 3)
        let toOwn = E.extensionMatch("addrtype", 1, ownType)
        messages.rule("PREROUTING", toOwn + E.any("counter", []) + E.jump("DOCKER"))
        messages.rule("OUTPUT", toOwn + E.jump("DOCKER"))
        messages.rule("DOCKER", E.meta(6) + E.compare(text("docker0")) + E.verdict(-5))
        messages.rule(
            "DOCKER",
            E.meta(6) + E.compare(text("docker0"), 1) + E.port(8_090)
                + E.extensionTarget("DNAT", 2, toContainer))
        return messages
    }

    @Test func `Docker's chains publish a port on all addresses`() {
        #expect(
            published(docker.ruleset()) == [
                "tcp 0.0.0.0:8090 near 10.88.0.1:8090 far 10.88.0.1:8090; "
                    + "ip nat DOCKER handle 4: dnat to 10.88.0.2:80"
            ])
    }

    @Test func `a range of ports goes to another range, as netavark writes it`() {
        var messages = Messages()
        messages.base("pre", 0)
        // --dport 8080:8083 -j DNAT --to-destination 10.88.0.2:80-83/8080
        let shifted =
            [35, 0, 0, 0] + toContainer[4..<36] + half(80) + half(83) + half(8_080) + [0, 0]
        messages.rule(
            "pre",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.compare(half(8_080), 5)
                + E.compare(half(8_083), 3) + E.extensionTarget("DNAT", 2, Array(shifted)))
        let rule = "ip nat pre handle 1: dnat to 10.88.0.2:80-83/8080"
        #expect(
            published(messages.ruleset())
                == (0...3).map { step in
                    let place = "10.88.0.2:\(80 + step)"
                    return "tcp 0.0.0.0:\(8_080 + step) near \(place) far \(place); \(rule)"
                })
    }

    @Test func `an output rule alone publishes on loopback`() {
        var messages = Messages()
        messages.base("OUTPUT", 3)
        messages.rule(
            "OUTPUT", E.ownAddress + E.port(8_090, 17) + E.immediate([10, 88, 0, 2]) + E.dnat())
        #expect(
            published(messages.ruleset()) == [
                "udp 127.0.0.1:8090 near 10.88.0.1:8090 far 10.88.0.1:8090; "
                    + "ip nat OUTPUT handle 1: dnat to 10.88.0.2"
            ])
    }

    @Test func `a redirect is dialled as its clients dial it`() {
        var messages = Messages()
        messages.base("pre", 0)
        messages.rule(
            "pre", E.port(8_091) + E.immediate(half(7_001)) + E.redirect, comment: "mine")
        let rule = "ip nat pre handle 1 \"mine\": redirect to :7001"
        #expect(
            published(messages.ruleset()) == [
                "tcp 0.0.0.0:8091 near 10.77.1.1:7001 far 10.77.1.1:7001; \(rule)"
            ])
        messages.base("out", 3)
        messages.rule("out", E.jump("pre"))
        #expect(
            published(messages.ruleset()) == [
                "tcp 0.0.0.0:8091 near 127.0.0.1:8091 far 10.77.1.1:8091; \(rule)"
            ])
    }

    @Test func `maps give each port its own target`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.rule(
            "out",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.lookup("ports", to: 1)
                + E.dnat(port: 9))
        messages.set(
            "ports", flags: 8,
            [
                Messages.element(
                    half(81) + [0, 0],
                    attribute(1, [10, 88, 0, 2] + half(80) + [0, 0])),
                Messages.element(
                    half(82) + [0, 0],
                    attribute(1, [10, 77, 1, 9] + half(443) + [0, 0])),
            ])
        #expect(
            published(messages.ruleset()) == [
                "tcp 127.0.0.1:81 near 10.88.0.1:81 far 10.88.0.1:81; "
                    + "ip nat out handle 1: dnat to 10.88.0.2:80",
                "tcp 127.0.0.1:82 near 10.77.1.1:82 far 10.77.1.1:82; "
                    + "ip nat out handle 1: dnat to 10.77.1.9:443",
            ])
    }

    @Test func `kube-proxy's map of verdicts leads through its chains`() {
        var messages = Messages(family: 1)
        messages.base("out", 3)
        messages.rule(
            "out",
            E.meta(15) + E.compare([2]) + E.payload(1, 16, 1) + E.compare([127], 1) + E.ownAddress
                + E.meta(16) + E.payload(2, 2, 2, 9) + E.lookup("nodeports", to: 0))
        messages.rule(
            "service", E.any("numgen", attribute(1, big(1))) + E.lookup("endpoints", to: 0))
        messages.rule(
            "endpoint",
            E.meta(16) + E.compare([6]) + E.immediate([10, 88, 0, 5])
                + E.immediate(half(8_080), 2) + E.dnat(port: 2))
        let jump = E.verdictData(-4, "endpoint")
        messages.set(
            "nodeports", flags: 8,
            [
                Messages.element(
                    [6, 0, 0, 0] + half(30_080) + [0, 0], E.verdictData(-4, "service")),
                Messages.element(
                    [17, 0, 0, 0] + half(30_081) + [0, 0], E.verdictData(-4, "service")),
            ])
        messages.set("endpoints", flags: 8, [Messages.element([0, 0, 0, 0], jump)])
        // Its chain asks for TCP again, so UDP ends there.
        #expect(
            published(messages.ruleset()) == [
                "tcp 127.0.0.1:30080 near 10.88.0.1:30080 far 10.88.0.1:30080; "
                    + "inet nat out handle 1: dnat to 10.88.0.5:8080"
            ])
    }

    @Test func `sets of ranges, comparisons and multiport are ports`() {
        var messages = Messages()
        messages.base("out", 3)
        let target = E.immediate([10, 88, 0, 2]) + E.dnat()
        messages.rule(
            "out",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.lookup("set") + target)
        messages.set(
            "set", flags: 4,
            [
                Messages.element(half(2_002), isEnd: true),
                Messages.element(half(2_000)),
                Messages.element(half(0), isEnd: true),
            ])
        messages.rule(
            "out",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.compare(half(3_000), 5)
                + E.compare(half(3_002), 3) + target)
        let ports: [UInt8] = [1, 3, 0x88, 0x13, 0x70, 0x17, 0x71, 0x17]
        let multiport =
            ports + [UInt8](repeating: 0, count: 24) + [0, 1] + [UInt8](repeating: 0, count: 14)
        messages.rule(
            "out",
            E.meta(16) + E.compare([17]) + E.extensionMatch("multiport", 1, multiport) + target)
        let keys = PublishedPorts(NATWalk(messages.ruleset()).hits, on: machine).found
            .map { "\($0.listener.key.kind.name)/\($0.listener.key.endpoint.port)" }
        #expect(
            Set(keys) == [
                "tcp/2000", "tcp/2001", "tcp/3000", "tcp/3001", "tcp/3002", "udp/5000",
                "udp/6000", "udp/6001",
            ])
    }

    @Test func `what is not for this machine, or not for a port, is no publication`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.base("pre", 0)
        let target = E.immediate([10, 88, 0, 2]) + E.dnat()
        // A service's address that is nobody's.
        messages.rule("out", E.payload(1, 16, 4) + E.compare([10, 43, 0, 1]) + E.port(80) + target)
        // Every port.
        messages.rule("out", E.meta(16) + E.compare([6]) + target)
        // What leaves by another interface than lo, and what arrived somewhere before it was sent.
        messages.rule("out", E.meta(7) + E.compare(text("eth0")) + E.port(81) + target)
        messages.rule("out", E.meta(6) + E.compare(text("eth0")) + E.port(82) + target)
        // SCTP.
        messages.rule("pre", E.port(83, 132) + target)
        // Accepted before.
        messages.rule("pre", E.port(84) + E.verdict(1))
        messages.rule("pre", E.port(84) + target)
        // Addresses that are not its own.
        messages.rule(
            "pre",
            E.any("fib", attribute(1, big(1)) + attribute(2, big(3)) + attribute(3, big(2)))
                + E.compare([2, 0, 0, 0], 1) + E.port(85) + target)
        #expect(published(messages.ruleset()) == [])
    }

    @Test func `a rule that asks for more than is understood is told and not dialled`() {
        var messages = Messages()
        messages.base("out", 3)
        let target = E.immediate([10, 88, 0, 2]) + E.dnat()
        messages.rule("out", E.meta(3) + E.compare([1, 0, 0, 0]) + E.port(80) + target)
        messages.rule("out", E.extensionMatch("owner", 1, [1, 2]) + E.port(81) + target)
        messages.rule("out", E.payload(1, 12, 4) + E.compare([192, 0, 2, 1]) + E.port(82) + target)
        let found = published(messages.ruleset())
        #expect(found.count == 3 && found.allSatisfy { $0.contains("127.0.0.1:8") })
        #expect(
            found[0].contains("not: its rule asks for something that is not understood (meta mark)")
        )
        #expect(found[1].contains("(xt owner)"))
        #expect(found[2].contains("not: its rule serves some clients only"))
    }

    @Test func `an address of this machine is where it is published`() {
        var messages = Messages()
        messages.base("pre", 0)
        let target =
            E.immediate([10, 88, 0, 2]) + E.immediate(half(80), 2) + E.dnat(port: 2)
        messages.rule("pre", E.payload(1, 16, 4) + E.compare([10, 77, 1, 1]) + E.port(80) + target)
        #expect(
            published(messages.ruleset()).map { $0.prefix { $0 != ";" } } == [
                "tcp 10.77.1.1:80 near 10.88.0.2:80 far 10.88.0.2:80"
            ])
    }

    @Test func `a rule for 127.0.0.1 alone is dialled there if its packets may leave`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.rule(
            "out",
            E.payload(1, 16, 4) + E.compare([127, 0, 0, 1]) + E.port(80)
                + E.immediate([10, 88, 0, 2]) + E.dnat())
        #expect(published(messages.ruleset()).first?.contains("not: its rule") == true)
        var routing = machine
        routing.routesLoopback = true
        let found = PublishedPorts(NATWalk(messages.ruleset()).hits, on: routing).found
        #expect(found.count == 1)
        #expect(found.first?.listener.published?.near == Endpoint(.loopbackV4, 80))
        #expect(found.first?.listener.key.endpoint == Endpoint(.loopbackV4, 80))
    }

    @Test func `a rule for a great many ports is cut, and said`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.rule(
            "out",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.compare(half(1_000), 5)
                + E.immediate([10, 88, 0, 2]) + E.dnat())
        let ports = PublishedPorts(NATWalk(messages.ruleset()).hits, on: machine)
        #expect(ports.found.isEmpty && ports.isCut)
    }

    @Test func `chains that call each other are followed to an end`() {
        var messages = Messages()
        messages.base("out", 3)
        for _ in 0..<8 { messages.rule("out", E.jump("out")) }
        let walk = NATWalk(messages.ruleset())
        #expect(walk.isCut && walk.hits.isEmpty)
    }

    // MARK: Hostile bytes

    @Test func `truncated anywhere, no message is trusted`() {
        for length in stride(from: 0, to: 400, by: 3) {
            let ruleset = docker.ruleset { bytes in
                var bytes = Array(bytes.prefix(length))
                // A message that says that it ends where it ends: only what is in it is cut.
                if bytes.count >= 20 {
                    bytes[0] = UInt8(truncatingIfNeeded: bytes.count)
                    bytes[1] = UInt8(bytes.count >> 8)
                }
                return bytes
            }
            #expect(published(ruleset).count <= 1)
        }
    }

    @Test func `random changes of messages never trap`() {
        var generator = SeededGenerator()
        let seed = generator.seed
        for _ in 0..<400 {
            let ruleset = docker.ruleset { bytes in
                var bytes = bytes
                for _ in 0..<Int.random(in: 1...6, using: &generator) {
                    bytes[.random(in: 0..<bytes.count, using: &generator)] =
                        [0, 1, 2, 3, 4, 8, 127, 255].randomElement(using: &generator)
                        ?? .random(in: 0...255, using: &generator)
                }
                return bytes
            }
            let found = PublishedPorts(NATWalk(ruleset).hits, on: machine).found
            #expect(found.count <= PublishedPorts.most, "seed \(seed)")
        }
    }

    @Test func `random steps never trap, and come to an end`() {
        var generator = SeededGenerator()
        for _ in 0..<400 {
            var ruleset = NATRuleset()
            for chain in ["a", "b", "c"] {
                let id = NATRuleset.ID(
                    family: [1, 2, 10].randomElement(using: &generator)!, table: "t", name: chain)
                if chain != "c" {
                    ruleset.bases.append(
                        .init(chain: id, hook: chain == "a" ? .output : .prerouting, priority: 0))
                }
                ruleset.rules[id] = (0..<4).map { number in
                    NATRuleset.Rule(
                        number: "handle \(number)",
                        steps: (0..<5).map { _ in step(&generator) })
                }
                ruleset.sets[NATRuleset.ID(family: id.family, table: "t", name: "s")] = (0..<3).map
                { _ in
                    let size = Int.random(in: 0...9, using: &generator)
                    return NATRuleset.Element(
                        from: generator.bytes(size), to: generator.bytes(size),
                        isDefault: Bool.random(using: &generator),
                        data: [.value(generator.bytes(6)), .verdict(.jump("c")), nil].randomElement(
                            using: &generator)!)
                }
            }
            _ = PublishedPorts(NATWalk(ruleset).hits, on: machine).found
        }
    }

    private func step(_ generator: inout SeededGenerator) -> NATStep {
        let slot = Int.random(in: -1...17, using: &generator)
        let fields: [NATField] = [
            .payload(base: 2, offset: 2), .payload(base: 1, offset: 16), .family, .transport,
            .destinationType, .inInterface, .chance, .payload(base: 1, offset: 12),
            .payload(base: 2, offset: 0), .unreadable("x"),
        ]
        let bytes = generator.bytes(Int.random(in: 0...17, using: &generator))
        switch Int.random(in: 0...9, using: &generator) {
        case 0, 1:
            return .load(fields.randomElement(using: &generator)!, size: bytes.count, to: slot)
        case 2: return .mask(slot, bytes, to: slot)
        case 3: return .value(bytes, to: slot)
        case 4: return .compare(slot, NATComparison(rawValue: UInt32(slot + 1) % 6)!, bytes)
        case 5:
            return .range(
                slot, isNegated: slot % 2 == 0, from: bytes, to: generator.bytes(bytes.count))
        case 6 where slot > 9: return .decide(slot, map: "s")
        case 6:
            return .lookup(slot, set: "s", isNegated: slot % 3 == 0, to: slot % 2 == 0 ? slot : nil)
        case 7:
            return .verdict(
                [.jump("c"), .goto("a"), .returns, .ends].randomElement(using: &generator)!)
        case 8: return .nat(address: slot, port: slot, lastPort: nil, isIPv6: slot % 2 == 0)
        default: return .condition(.ports([80...90]))
        }
    }
}

@Suite struct LegacyTableTests {
    /// `-A OUTPUT -p tcp --dport 80 -j DNAT --to 10.88.0.2:80` and the ends of the chains, as the kernel gives them.
    private static func entry(_ transport: UInt8, _ matches: [UInt8], _ target: [UInt8]) -> [UInt8]
    {
        var head = [UInt8](repeating: 0, count: 112)
        head[80] = transport
        let targetOffset = 112 + matches.count
        let next = targetOffset + target.count
        (head[88], head[89]) = (UInt8(truncatingIfNeeded: targetOffset), UInt8(targetOffset >> 8))
        (head[90], head[91]) = (UInt8(truncatingIfNeeded: next), UInt8(next >> 8))
        return head + matches + target
    }

    private static func part(_ name: String, _ revision: UInt8, _ data: [UInt8]) -> [UInt8] {
        let size = 32 + data.count
        var head: [UInt8] = [UInt8(truncatingIfNeeded: size), UInt8(size >> 8)]
        head += Array(name.utf8) + [UInt8](repeating: 0, count: 29 - name.utf8.count)
        return head + [revision] + data
    }

    private static var table: (info: [UInt8], entries: [UInt8]) {
        let accept = entry(0, [], part("", 0, [0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]))
        let tcp = part("tcp", 0, [0, 0, 255, 255, 80, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        let dnat: [UInt8] =
            [1, 0, 0, 0, 3, 0, 0, 0, 10, 88, 0, 2, 10, 88, 0, 2] + half(8_080)
            + half(8_080) + [0, 0, 0, 0]
        let rule = entry(6, tcp, part("DNAT", 0, dnat))
        let end = entry(0, [], part("ERROR", 0, text("ERROR") + [UInt8](repeating: 0, count: 26)))
        let entries = accept + rule + accept + end
        var info = text("nat") + [UInt8](repeating: 0, count: 80)
        info[32] = 0b1001
        (info[36 + 12], info[80], info[81]) = (
            UInt8(accept.count), UInt8(truncatingIfNeeded: entries.count), UInt8(entries.count >> 8)
        )
        return (info, entries)
    }

    @Test func `a rule of the old filter publishes its port`() throws {
        let table = Self.table
        let info = try #require(LegacyTable.Info(table.info[...]))
        let ruleset = LegacyTable.ruleset(info, table.entries[...], isIPv6: false)
        #expect(
            published(ruleset) == [
                "tcp 127.0.0.1:80 near 10.88.0.1:80 far 10.88.0.1:80; "
                    + "ip nat_(iptables-legacy) OUTPUT rule 1: dnat to 10.88.0.2:8080"
            ])
    }

    @Test func `cut or changed, it never traps`() throws {
        let table = Self.table
        let info = try #require(LegacyTable.Info(table.info[...]))
        for length in 0...table.entries.count {
            for isIPv6 in [false, true] {
                let cut = table.entries.prefix(length)
                _ = NATWalk(LegacyTable.ruleset(info, cut, isIPv6: isIPv6))
            }
        }
        var generator = SeededGenerator()
        for _ in 0..<500 {
            var (head, entries) = table
            for _ in 0..<4 {
                entries[.random(in: 0..<entries.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
                head[.random(in: 32..<head.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            guard let info = LegacyTable.Info(head[...]) else { continue }
            let walk = NATWalk(LegacyTable.ruleset(info, entries[...], isIPv6: false))
            _ = PublishedPorts(walk.hits, on: machine).found
        }
    }
}

@Suite struct PublishedListenersTests {
    private let web = Container(id: "c0ffee", name: "web")

    private func listener(
        _ address: IPAddress, published: String? = nil, obstacle: Reason? = nil,
        owner: SocketOwner? = nil, uid: UInt32 = 0
    ) -> Listener {
        var listener = Listener(
            key: ListenerKey(kind: .tcp, endpoint: Endpoint(address, 80), isV6Only: false),
            uid: uid, inode: 7, owner: owner, traits: SocketTraits(obstacle: obstacle))
        listener.published = published.map { Publication(rule: $0) }
        return listener
    }

    private func sockets(_ listeners: Listener...) -> [ListenerKey: Listener] {
        Dictionary(uniqueKeysWithValues: listeners.map { ($0.key, $0) })
    }

    @Test func `a rule is shown until a socket listens, and again afterwards`() {
        var all = PublishedListeners()
        let rule = listener(.anyV4, published: "a rule")
        let socket = listener(.anyV4)
        #expect(all.merge([], [rule], sockets: [:]) == [.appeared(rule)])
        #expect(all.merge([], nil, sockets: [:]) == [])
        #expect(
            all.merge([.appeared(socket)], nil, sockets: sockets(socket)) == [.appeared(socket)])
        #expect(all.merge([.vanished(socket.key)], nil, sockets: [:]).last == .appeared(rule))
        #expect(all.merge([], [], sockets: [:]) == [.vanished(rule.key)])
    }

    @Test func `a socket on all addresses of both families wins`() {
        var all = PublishedListeners()
        let socket = listener(.anyV6)
        let rule = listener(.anyV4, published: "a rule")
        #expect(
            all.merge([.appeared(socket)], [rule], sockets: sockets(socket)) == [.appeared(socket)])
        // On loopback alone it does not.
        let loopback = listener(.loopbackV4)
        #expect(
            all.merge(
                [.vanished(socket.key), .appeared(loopback)], nil, sockets: sockets(loopback)
            )
            .contains(.appeared(rule)))
    }

    @Test func `a socket that does not listen is not shown beside the rule`() {
        var all = PublishedListeners()
        let bound = listener(.anyV4, obstacle: .notListening)
        let rule = listener(.anyV4, published: "a rule")
        #expect(all.merge([.appeared(bound)], nil, sockets: sockets(bound)) == [.appeared(bound)])
        #expect(all.merge([], [rule], sockets: sockets(bound)) == [.appeared(rule)])
        #expect(all.passing(bound) == nil)
        #expect(all.merge([], [], sockets: sockets(bound)) == [.updated(bound)])
    }

    @Test func `a root's socket at a published port is its container's`() {
        var all = PublishedListeners()
        let process = SocketOwner(pid: 9, command: "dockerd")
        let socket = listener(.anyV4, owner: process)
        var owner = process
        owner.container = web
        let attributed = listener(.anyV4, owner: owner)
        let rule = listener(
            .anyV4, published: "a rule",
            owner: SocketOwner(pid: 8, command: "nginx", container: web))
        #expect(
            all.merge([.appeared(socket)], nil, sockets: sockets(socket)) == [.appeared(socket)])
        #expect(all.merge([], [rule], sockets: sockets(socket)) == [.updated(attributed)])
        #expect(all.passing(socket) == attributed)
        // Another user's is not.
        let others = listener(.anyV4, owner: process, uid: 1_000)
        #expect(all.passing(others) == others)
        #expect(all.merge([], [], sockets: sockets(socket)) == [.updated(socket)])
    }

    @Test func `a socket at an address that a rule takes is dialled as the rule is`() {
        var all = PublishedListeners()
        var rule = listener(
            .anyV4, published: "a rule", owner: SocketOwner(maker: "docker", container: web))
        let place = Endpoint(IPAddress("10.89.0.1")!, 80)
        rule.published?.near = place
        rule.published?.far = place
        rule.published?.takesLocal = true
        // Before its process is known it is the container's already.
        let socket = listener(.anyV4)
        _ = all.merge([], [rule], sockets: [:])
        let shown = all.merge([.appeared(socket)], nil, sockets: sockets(socket))
        var expected = socket
        expected.published = rule.published
        expected.owner = SocketOwner(pid: 0, command: "", container: web)
        #expect(shown == [.appeared(expected)])
        // Its process is looked for nevertheless.
        var search = OwnerSearch()
        search.note(shown)
        #expect(!search.isDone)
        // At another address it is itself.
        #expect(all.passing(listener(.loopbackV4, uid: 7))?.published == nil)
        #expect(all.merge([], [], sockets: sockets(socket)) == [.updated(socket)])
    }

    @Test func `addresses of a network are read from its files`() {
        let trie = """
            Main:
              +-- 0.0.0.0/0 3 0 5
                 |-- 10.88.0.2
                    /32 host LOCAL
                 |-- 10.88.0.255
                    /32 link BROADCAST
                 |-- 127.0.0.1
                    /32 host LOCAL
            """
        #expect(NetworkFiles.addresses(fibTrie: trie) == [IPAddress("10.88.0.2")!])
        let inet6 = """
            fd000000000000000000000000000002 02 40 00 80     eth0
            00000000000000000000000000000001 01 80 10 80       lo
            """
        #expect(NetworkFiles.addresses(ifInet6: inet6) == [IPAddress("fd00::2")!])
    }

    @Test func `a root's socket at another address than a container's is not its`() {
        var all = PublishedListeners()
        let process = SocketOwner(pid: 9, command: "admin")
        let owner = SocketOwner(maker: "podman", container: web)
        let rule = listener(IPAddress("192.0.2.9")!, published: "a rule", owner: owner)
        let socket = listener(IPAddress("192.0.2.1")!, owner: process)
        let wildcard = listener(.anyV4, owner: process)
        _ = all.merge([], [rule], sockets: sockets(socket, wildcard))
        #expect(all.passing(socket) == socket)
        #expect(all.passing(wildcard) == wildcard)
        let proxy = listener(
            IPAddress("192.0.2.9")!, owner: SocketOwner(pid: 3, command: "docker-proxy"))
        #expect(all.passing(listener(.loopbackV4, owner: process))?.owner == process)
        _ = all.merge([.appeared(proxy)], nil, sockets: sockets(proxy))
        #expect(all.passing(proxy)?.owner?.container == web)
        // A wildcard of IPv4 has the sockets of IPv4, and what takes both families.
        let everywhere = listener(.anyV4, published: "a rule", owner: owner)
        _ = all.merge([], [everywhere], sockets: sockets(socket))
        #expect(all.passing(socket)?.owner?.container == web)
        #expect(all.passing(listener(.anyV6, owner: process))?.owner?.container == web)
        #expect(all.passing(listener(.loopbackV6, owner: process))?.owner == process)
    }

    @Test func `a container's id is found in a long comment`() {
        let id = String(repeating: "5a", count: 32)
        var messages = Messages()
        messages.base("out", 3)
        messages.rule(
            "out", E.port(80) + E.immediate([10, 88, 0, 2]) + E.dnat(),
            comment: "dnat name: \"podman\" id: \"\(id)\"")
        messages.rule(
            "out",
            E.extensionMatch("comment", 0, text("dnat name: \"podman\" id: \"\(id)\""))
                + E.port(81) + E.immediate([10, 88, 0, 2]) + E.dnat())
        let found = PublishedPorts(NATWalk(messages.ruleset()).hits, on: machine).found
        #expect(found.map { Container(ruleComment: $0.comment)?.id } == [id, id])
        // In reports it is cut.
        #expect(found.allSatisfy { ($0.listener.published?.rule.utf8.count ?? 0) < 150 })
    }

    @Test func `a container is named by the comment of its engine's rule`() {
        let id = String(repeating: "5a", count: 32)
        #expect(Container(ruleComment: "dnat name: \"podman\" id: \"\(id)\"")?.id == id)
        #expect(Container(ruleComment: "default/web") == nil)
    }
}
