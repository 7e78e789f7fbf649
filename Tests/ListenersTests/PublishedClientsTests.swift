import Testing
import TwinportModel

@testable import Listeners

private typealias E = Expression

/// Whom a rule that publishes a port serves: all clients, or some.
@Suite struct PublishedClientsTests {
    private let some = "its rule serves some clients only"
    private let target = E.immediate([10, 88, 0, 2]) + E.dnat()

    private func arriving(at name: String, isNegated: Bool = false) -> [UInt8] {
        E.meta(6) + E.compare(text(name), isNegated ? 1 : 0)
    }

    /// Docker's chains, with `! -i` an interface before each rule that publishes.
    private func docker(_ bridge: String, hasOutput: Bool = true) -> NATRuleset {
        var messages = Messages()
        messages.base("PREROUTING", 0)
        messages.base("OUTPUT", 3)
        messages.rule("PREROUTING", E.ownAddress + E.jump("DOCKER"))
        if hasOutput {
            messages.rule(
                "OUTPUT",
                E.payload(1, 16, 1) + E.compare([127], 1) + E.ownAddress + E.jump("DOCKER"))
        }
        messages.rule("DOCKER", arriving(at: bridge) + E.verdict(-5))
        messages.rule("DOCKER", arriving(at: bridge, isNegated: true) + E.port(8_090) + target)
        return messages.ruleset()
    }

    @Test func `Docker's rules leave out their own bridge only`() {
        #expect(
            published(docker("docker0")).first?.hasPrefix("tcp 0.0.0.0:8090 near 10.88") == true)
        #expect(
            published(docker("docker0", hasOutput: false)).first?.hasPrefix(
                "tcp 0.0.0.0:8090 near 10.88.0.2:8090 far 10.88.0.2:8090;") == true)
    }

    @Test func `a rule that leaves out an interface that is not its target's is not for all`() {
        // What programs of this machine reach is on loopback then.
        #expect(published(docker("eth0")).first?.hasPrefix("tcp 127.0.0.1:8090 near 10.88") == true)
        let outside = published(docker("eth0", hasOutput: false))
        #expect(outside.first?.hasPrefix("tcp 0.0.0.0:8090 not: \(some)") == true, "\(outside)")
        // The interface of its target, behind which there is a router.
        var routed = machine
        routed.innerNetworks = [:]
        #expect(
            published(docker("docker0", hasOutput: false), on: routed).first?.contains(some) == true
        )
        // Several at once, of which nothing is known.
        #expect(published(docker("docker", hasOutput: false)).first?.contains(some) == true)
    }

    @Test func `a rule for an interface, or for other clients than these, is not for all`() {
        var messages = Messages()
        messages.base("pre", 0)
        messages.rule("pre", arriving(at: "wg0") + E.port(5_555) + target)
        messages.rule("pre", E.payload(1, 12, 1) + E.compare([10], 1) + E.port(5_556) + target)
        messages.rule("pre", E.payload(1, 12, 4) + E.lookup("clients") + E.port(5_557) + target)
        messages.rule("pre", arriving(at: "lo", isNegated: true) + E.port(5_558) + target)
        messages.set(
            "clients", flags: 0,
            [Messages.element([192, 0, 2, 1]), Messages.element([192, 0, 2, 2])])
        let found = published(messages.ruleset())
        #expect(found.count == 4)
        for line in found.prefix(3) { #expect(line.contains("not: \(some)"), "\(line)") }
        // From others nothing arrives at `lo`.
        #expect(found.last?.contains("0.0.0.0:5558 near 10.88.0.2:5558") == true)
    }

    @Test func `a rule for all counts where one for some comes before it`() {
        var messages = Messages()
        messages.base("pre", 0)
        messages.rule("pre", arriving(at: "eth0") + E.port(80) + target)
        messages.rule("pre", E.port(80) + E.immediate([10, 88, 0, 3]) + E.dnat())
        #expect(
            published(messages.ruleset()).map { $0.prefix { $0 != ";" } } == [
                "tcp 0.0.0.0:80 near 10.88.0.3:80 far 10.88.0.3:80"
            ])
    }

    private let passed = "a rule before its own lets some clients past"

    @Test func `an earlier rule that lets some clients past counts`() {
        let past: [(name: String, conditions: [UInt8])] = [
            ("a client", E.payload(1, 12, 1) + E.compare([10])),
            ("an interface", arriving(at: "eth0")),
            ("all interfaces but one", arriving(at: "eth0", isNegated: true)),
            ("a client at its port", E.payload(1, 12, 1) + E.compare([10]) + E.port(8_090)),
        ]
        for (name, conditions) in past {
            for verdict in [Int32(-5), 1] {
                var messages = Messages()
                messages.base("pre", 0)
                messages.rule("pre", conditions + E.verdict(verdict))
                messages.rule("pre", E.port(8_090) + target)
                let found = published(messages.ruleset())
                #expect(
                    found.first?.hasPrefix("tcp 0.0.0.0:8090 not: \(passed)") == true,
                    "\(name): \(found)")
            }
        }
        // What is asked for, that is not understood.
        var messages = Messages()
        messages.base("pre", 0)
        messages.rule("pre", E.meta(3) + E.compare([1, 0, 0, 0]) + E.verdict(-5))
        messages.rule("pre", E.port(8_090) + target)
        #expect(published(messages.ruleset()).first?.contains("understood (meta mark)") == true)
    }

    @Test func `other ports, and rules of other chains, are not concerned`() {
        var messages = Messages()
        messages.base("pre", 0)
        messages.base("late", 0)
        let some = E.payload(1, 12, 1) + E.compare([10])
        messages.rule("pre", some + E.port(80) + E.verdict(-5))
        messages.rule(
            "pre",
            E.meta(16) + E.compare([6]) + E.payload(2, 2, 2) + E.compare(half(79), 5)
                + E.compare(half(81), 3) + target)
        // It leaves this chain only.
        messages.rule("pre", E.jump("mine"))
        messages.rule("mine", some + E.port(90) + E.verdict(-5))
        messages.rule("pre", E.port(90) + target)
        // What one base chain accepts, the next one sees.
        messages.rule("pre", E.port(91) + E.verdict(1))
        messages.rule("late", E.port(91) + target)
        let found = published(messages.ruleset()).map { $0.prefix { $0 != ";" } }
        let open = { (port: Int) in
            "tcp 0.0.0.0:\(port) near 10.88.0.2:\(port) far 10.88.0.2:\(port)"
        }
        #expect(
            found.map(String.init) == [
                open(79), "tcp 0.0.0.0:80 not: \(passed)", open(81), open(90), open(91),
            ])
    }

    @Test func `the bridges of Docker's other networks are let past`() {
        var other = machine
        other.innerNetworks["br-1"] = [AddressBlock([172, 18], isIPv6: false)!]
        other.bridges = ["docker0", "br-1"]
        var messages = Messages()
        messages.base("PREROUTING", 0)
        messages.rule("PREROUTING", E.ownAddress + E.jump("DOCKER"))
        messages.rule("DOCKER", arriving(at: "br-1") + E.verdict(-5))
        messages.rule("DOCKER", arriving(at: "docker0") + E.verdict(-5))
        messages.rule("DOCKER", arriving(at: "docker0", isNegated: true) + E.port(8_090) + target)
        let rules = messages.ruleset()
        #expect(
            published(rules, on: other).first?.hasPrefix(
                "tcp 0.0.0.0:8090 near 10.88.0.2:8090 far 10.88.0.2:8090;") == true)
        // An interface that is no bridge may be a network of machines.
        other.bridges = ["docker0"]
        #expect(published(rules, on: other).first?.contains(passed) == true)
        // So may one behind which there is a router.
        other.bridges = ["docker0", "br-1"]
        other.innerNetworks["br-1"] = nil
        #expect(published(rules, on: other).first?.contains(passed) == true)
    }

    @Test func `clients of this machine that a rule leaves out are not imitated`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.rule("out", E.payload(1, 12, 1) + E.compare([10], 1) + E.port(80) + target)
        #expect(published(messages.ruleset()).first?.contains(some) == true)
        var routing = machine
        routing.routesLoopback = true
        #expect(
            published(messages.ruleset(), on: routing).first?.hasPrefix(
                "tcp 127.0.0.1:80 near 127.0.0.1:80;") == true)
    }

    @Test func `what only loopback reaches is loopback's`() {
        var messages = Messages()
        messages.base("out", 3)
        messages.rule(
            "out",
            E.payload(1, 16, 4) + E.compare([127, 0, 0, 1]) + E.port(8_080)
                + E.immediate(half(9_000)) + E.redirect)
        messages.rule("out", E.port(8_081) + E.immediate(half(9_000)) + E.redirect)
        let found = PublishedPorts(NATWalk(messages.ruleset()).hits, on: machine).found
        #expect(found.map(\.listener.isLoopbackOnly) == [true, false])
        #expect(found.first?.listener.published?.far == nil)
    }

    @Test func `the networks of interfaces are read from the kernel's tables`() {
        let v4 = NetworkFiles.routes(
            v4: """
                Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
                eth0\t00000000\t01014D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
                docker0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
                """)
        #expect(v4.map(\.interface) == ["eth0", "docker0"])
        #expect(v4.map(\.hasGateway) == [true, false])
        #expect(v4.map(\.network.isAll) == [true, false])
        #expect(v4.last?.network.contains(IPAddress("10.88.3.2")!) == true)
        #expect(v4.last?.network.contains(IPAddress("10.89.0.2")!) == false)
        let none = String(repeating: "0", count: 32)
        let v6 = NetworkFiles.routes(
            v6: """
                fd880000000000000000000000000000 40 \(none) 00 \(none) 00000100 0 0 00000001  docker0
                \(none) 00 \(none) 00 fe800000000000000000000000000001 00000400 0 0 00000003  eth0
                """)
        #expect(v6.map(\.interface) == ["docker0", "eth0"])
        #expect(v6.map(\.hasGateway) == [false, true])
        #expect(v6.first?.network.contains(IPAddress("fd88::2")!) == true)
        #expect(v6.first?.network.contains(IPAddress("fd88:0:0:1::2")!) == false)
    }
}
