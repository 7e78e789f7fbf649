import Posix
import Testing
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// The rule with this number, for these ports.
func rule(
    _ number: Int, _ ports: String?, _ change: (inout MirrorRule) -> Void
) -> MirrorRule {
    var rule = MirrorRule(
        place: RulePlace(number: number), match: RuleMatch(ports: ports.map { PortRule($0)! }))
    change(&rule)
    return rule
}

extension Bench {
    func setRules(_ rules: [MirrorRule]) {
        var policy = table.policy
        policy.mirrorRules = rules
        table.setPolicy(policy)
        settle()
    }

    func entry(_ endpoint: String) -> MirrorEntry? {
        table.all.first { $0.key.endpoint == Endpoint(endpoint) }
    }

    func listens(_ id: UInt32, _ endpoint: String, owner: String = "1/x") {
        table.advertised(
            ListenerMessage(
                id: ListenerID(rawValue: id), kind: 1, isV6Only: false,
                endpoint: Endpoint(endpoint)!, uid: 0, owner: owner, container: ""))
        settle()
    }

    /// What stands at which port, and why others do not.
    func place(_ endpoint: String) -> String {
        guard let entry = entry(endpoint) else { return "gone" }
        let places = entry.mirrors.map(\.description).joined(separator: ",")
        return places.isEmpty
            ? "\(entry.outcome.state.name): \(entry.outcome.reason.text)" : places
    }
}

/// The mirror table with rules.
@Suite struct RuleTests {
    // MARK: Verdicts

    private func verdict(
        _ rule: MirrorRule?, port: Port = 8_000, container: Container? = nil,
        _ change: (inout MirrorPolicy) -> Void = { _ in }
    ) -> MirrorVerdict {
        var policy = MirrorPolicy.host
        change(&policy)
        return MirrorVerdict(
            on: ListenerKey(kind: .tcp, endpoint: Endpoint(.anyV4, port), isV6Only: false),
            container: container, ownerIsKnown: true, policy: policy, hasIPv6: true, rule: rule)
    }

    private func bound(_ text: String, v6Only: Bool = false) -> MirrorVerdict {
        .bind([PlannedSocket(endpoint: Endpoint(text)!, isV6Only: v6Only)])
    }

    @Test func `a rule decides whether, or leaves it to the rest`() {
        let strict: (inout MirrorPolicy) -> Void = {
            $0.mirrorIgnore = [PortRule("tcp/8000")!] + .linkLocal
            $0.mirrorOnly = []
            $0.scope = .containers
        }
        let out = rule(1, nil) { $0.isIgnored = true }
        let admitted = rule(2, nil) { $0.isIgnored = false }
        let moved = rule(3, nil) { $0.target = RuleTarget("9000") }
        let placed = rule(4, nil) { $0.bind = .word(.same) }
        #expect(verdict(out) == .out(.ignored, .ruleNumber(1, .guestToHost)))
        #expect(verdict(admitted, strict) == bound("127.0.0.1:8000"))
        #expect(verdict(moved, strict) == bound("127.0.0.1:9000"))
        #expect(verdict(placed, strict) == .out(.ignored, .rule(PortRule("tcp/8000")!)))
        #expect(verdict(placed) == bound("0.0.0.0:8000"))
        #expect(verdict(placed, port: 22) == .out(.ignored, .ownService))
        #expect(verdict(admitted, port: 22) == bound("127.0.0.1:22"))
        #expect(
            verdict(admitted) { $0.mirrorsDisabled = "x.enabled is false" }
                == .out(.disabled, .switchedOff("x.enabled is false")))
    }

    @Test func `where a rule puts mirrors`() {
        let lan = IPAddress("10.0.0.1")!
        func plan(_ listener: String, _ change: (inout MirrorRule) -> Void) -> MirrorVerdict {
            let all = rule(1, "*/1-65535", change)
            return MirrorVerdict(
                on: ListenerKey(kind: .tcp, endpoint: Endpoint(listener)!, isV6Only: false),
                container: nil, ownerIsKnown: true, policy: .host, hasIPv6: true, rule: all)
        }
        #expect(plan("0.0.0.0:80") { $0.bind = .address(lan) } == bound("10.0.0.1:80"))
        // What is on loopback there is not shown to a network here, unless a place is named.
        #expect(plan("127.0.0.1:80") { $0.bind = .address(lan) } == bound("127.0.0.1:80"))
        #expect(
            plan("127.0.0.1:80") { $0.target = RuleTarget("10.0.0.1:81") } == bound("10.0.0.1:81"))
        #expect(plan("127.0.0.1:80") { $0.bind = .word(.same) } == bound("127.0.0.1:80"))
        #expect(
            plan("0.0.0.0:80") { $0.target = RuleTarget("[::1]:81") }
                == bound("[::1]:81", v6Only: true))
        #expect(plan("[::]:80") { $0.target = RuleTarget("[::]:81") } == bound("[::]:81"))
        #expect(
            plan("[::]:80") { $0.target = RuleTarget("81") }
                == .bind([
                    PlannedSocket(endpoint: Endpoint(.loopbackV4, 81), isV6Only: false),
                    PlannedSocket(endpoint: Endpoint(.loopbackV6, 81), isV6Only: true),
                ]))
        #expect(
            plan("10.1.1.1:80") { $0.target = RuleTarget("81") }
                == .out(.unsupported, .interfaceAddress))
    }

    @Test func `link-local discovery is left out whatever a rule says`() {
        let all = rule(1, nil) { $0.isIgnored = false }
        for port: Port in [67, 137, 1_900, 5_353] {
            let verdict = MirrorVerdict(
                on: ListenerKey(kind: .udp, endpoint: Endpoint(.anyV4, port), isV6Only: false),
                container: nil, ownerIsKnown: true, policy: .host, hasIPv6: true, rule: all)
            guard case .out(.ignored, .rule) = verdict else {
                Issue.record("\(port): \(verdict)")
                continue
            }
        }
    }

    @Test func `what this machine offers`() {
        func objection(_ owner: SocketOwner?) -> String? {
            var policy = MirrorPolicy.host
            policy.offerIgnore = [PortRule("tcp/5432")!] + .linkLocal
            var ssh = rule(1, nil) { $0.isIgnored = true }
            ssh.match.process = "sshd"
            policy.offerRules = [ssh, rule(2, "tcp/5432") { $0.isIgnored = false }]
            let listener = Listener(
                key: ListenerKey(kind: .tcp, endpoint: Endpoint(.anyV4, 5_432), isV6Only: false),
                uid: 0, inode: 1, owner: owner)
            let finding = policy.offerRules.finding(for: ListenerFacts(listener))
            return MirrorVerdict.objection(toOffering: listener, policy: policy, finding)?
                .reason.text
        }
        #expect(objection(SocketOwner(pid: 1, command: "sshd")) == "rule 1 of hostToGuest.rules")
        #expect(objection(SocketOwner(pid: 1, command: "postgres")) == nil)
        #expect(
            objection(nil)
                == "rule 1 of hostToGuest.rules asks for its process, which is not known")
    }

    // MARK: Places

    @Test func `a mirror moves with its rule, live`() {
        let bench = Bench()
        bench.listens(1, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "0.0.0.0:80")
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("127.0.0.1:8080") }])
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:8080")
        #expect(bench.sockets.addresses == ["127.0.0.1:8080"])
        #expect(bench.entry("0.0.0.0:80")?.rule?.place.number == 1)
        // The peer is told of the new place although the state is the same.
        var told: [Endpoint] = []
        while let report = bench.table.nextReport() { told = report.addresses }
        #expect(told == [Endpoint(.loopbackV4, 8_080)])
        bench.setRules([rule(1, "tcp/80") { $0.isIgnored = true }])
        #expect(bench.sockets.addresses == [])
        bench.setRules([])
        #expect(bench.place("0.0.0.0:80") == "0.0.0.0:80")
        #expect(bench.entry("0.0.0.0:80")?.rule == nil)
    }

    @Test func `two listeners change places`() {
        let bench = Bench()
        bench.listens(1, "0.0.0.0:80")
        bench.listens(2, "0.0.0.0:81")
        for (first, second) in [("8080", "8081"), ("8081", "8080"), ("81", "80")] {
            bench.setRules([
                rule(1, "tcp/80") { $0.target = RuleTarget(first) },
                rule(2, "tcp/81") { $0.target = RuleTarget(second) },
            ])
            #expect(bench.place("0.0.0.0:80") == "0.0.0.0:\(first)")
            #expect(bench.place("0.0.0.0:81") == "0.0.0.0:\(second)")
        }
    }

    @Test func `a conflict is noticed, and ends, at the mirror's port, not at the listener's`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("8080") }])
        let other = bench.hold("127.0.0.1:80")
        bench.listens(1, "127.0.0.1:80")
        #expect(bench.place("127.0.0.1:80") == "127.0.0.1:8080")
        bench.release(other)
        bench.table.withdrew(ListenerID(rawValue: 1))
        bench.settle()

        let holder = bench.hold("127.0.0.1:8080", owner: SocketOwner(pid: 9, command: "apache"))
        bench.listens(2, "127.0.0.1:80")
        #expect(bench.place("127.0.0.1:80") == "conflict: 9/apache holds 127.0.0.1:8080")
        bench.release(holder)
        #expect(
            bench.place("127.0.0.1:80")
                == "conflict: kept free for 5 s: 9/apache left 127.0.0.1:8080")
        bench.now += 5_000
        bench.table.retry()
        #expect(bench.place("127.0.0.1:80") == "127.0.0.1:8080")
        // A program asks for the port: the mirror makes room.
        bench.table.localWants(.tcp, Endpoint(.anyV4, 80), process: "7/x")
        bench.settle()
        #expect(bench.place("127.0.0.1:80") == "127.0.0.1:8080")
        bench.table.localWants(.tcp, Endpoint(.anyV4, 8_080), process: "7/x")
        bench.settle()
        #expect(bench.place("127.0.0.1:80").hasPrefix("conflict: kept free for 5 s: 7/x wants"))
    }

    @Test func `a program on the other family of the mirror's port is not answered for`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, nil) { $0.target = RuleTarget("8080") }])
        _ = bench.hold("127.0.0.1:8080")
        bench.listens(1, "[::1]:80")
        #expect(bench.place("[::1]:80") == "conflict: localhost is 127.0.0.1:8080")
        // Whoever named the port knows.
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("8080") }])
        #expect(bench.place("[::1]:80") == "[::1]:8080")
    }

    @Test func `two listeners at one place: the earlier rule, the lower port, in any order`() {
        let rules = [
            rule(1, "tcp/80") { $0.target = RuleTarget("127.0.0.1:8080") },
            rule(2, "tcp/90-99") { $0.target = RuleTarget("127.0.0.1:8080") },
        ]
        for order in [[80, 91, 90, 8_080], [8_080, 91, 90, 80], [90, 8_080, 80, 91]] {
            let bench = Bench(.loopback)
            bench.setRules(rules)
            for port in order { bench.listens(UInt32(port), "0.0.0.0:\(port)") }
            bench.now += 2_000
            bench.table.retry()
            bench.settle()
            let taken = "conflict: the mirror of 0.0.0.0:80 holds 127.0.0.1:8080"
            #expect(bench.place("0.0.0.0:80") == "127.0.0.1:8080")
            for port in [90, 91, 8_080] { #expect(bench.place("0.0.0.0:\(port)") == taken) }
            bench.table.withdrew(ListenerID(rawValue: 80))
            bench.settle()
            bench.now += 2_000
            bench.table.retry()
            bench.settle()
            #expect(bench.place("0.0.0.0:90") == "127.0.0.1:8080")
            #expect(
                bench.place("0.0.0.0:91")
                    == "conflict: the mirror of 0.0.0.0:90 holds 127.0.0.1:8080")
        }
    }

    @Test
    func `two addresses of one port at one place are a conflict, unless clients there reach both`()
    {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("127.0.0.1:8080") }])
        bench.listens(1, "127.0.0.2:80")
        bench.listens(2, "127.0.0.3:80")
        #expect(
            bench.place("127.0.0.3:80")
                == "conflict: the mirror of 127.0.0.2:80 holds 127.0.0.1:8080")
        bench.listens(3, "0.0.0.0:80")
        bench.listens(4, "127.0.0.1:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:8080")
        #expect(bench.place("127.0.0.1:80") == "covered: by 127.0.0.1:8080")
        // The wildcard's mirror is on 127.0.0.1 only.
        #expect(
            bench.place("127.0.0.2:80")
                == "conflict: the mirror of 0.0.0.0:80 holds 127.0.0.1:8080")
        #expect(
            bench.sockets.bound[0].target(.loopbackV4)?.number == ListenerID(rawValue: 4))
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("0.0.0.0:8080") }])
        #expect(bench.place("127.0.0.2:80") == "covered: by 0.0.0.0:8080")
    }

    @Test func `a wildcard leaves out the address where a rule put another mirror`() {
        let bench = Bench(.same)
        bench.sockets.own = [.loopbackV4, IPAddress("10.0.0.1")!]
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("127.0.0.1:8080") }])
        bench.listens(1, "0.0.0.0:8080")
        bench.listens(2, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:8080")
        #expect(bench.place("0.0.0.0:8080") == "10.0.0.1:8080")
        #expect(
            bench.entry("0.0.0.0:8080")?.outcome.reason.text
                == "all but 127.0.0.1:8080, which the mirror of 0.0.0.0:80 holds")
    }

    @Test func `a privileged port is denied where the mirror is, not where the listener is`() {
        let bench = Bench(.loopback)
        bench.sockets.privileged = SystemError("bind", 13)
        bench.setRules([
            rule(1, "tcp/80") { $0.target = RuleTarget("8080") },
            rule(2, "tcp/8081") { $0.target = RuleTarget("81") },
        ])
        bench.listens(1, "0.0.0.0:80")
        bench.listens(2, "0.0.0.0:8081")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:8080")
        #expect(bench.place("0.0.0.0:8081").hasPrefix("denied: port 81 needs"))
    }

    @Test func `a UDP socket whose port the kernel chose stays on loopback`() {
        let bench = Bench(.same)
        for change: (inout MirrorRule) -> Void in [
            { $0.bind = .word(.same) }, { $0.target = RuleTarget("10.0.0.1:40000") },
        ] {
            bench.setRules([rule(1, nil, change)])
            var message = ListenerMessage(
                id: ListenerID(rawValue: 1), kind: 2, isV6Only: false,
                endpoint: Endpoint("0.0.0.0:40000")!, uid: 0, owner: "1/x", container: "")
            message.isLoopbackOnly = true
            bench.table.advertised(message)
            bench.settle()
            #expect(bench.place("0.0.0.0:40000") == "127.0.0.1:40000")
        }
    }

    // MARK: Owners

    @Test func `a rule on the process waits until that is known`() {
        let bench = Bench(.loopback)
        var ssh = rule(1, nil) { $0.isIgnored = true }
        ssh.match.process = "sshd"
        bench.setRules([ssh])
        bench.listens(1, "0.0.0.0:22", owner: "")
        #expect(
            bench.place("0.0.0.0:22")
                == "pending: rule 1 of guestToHost.rules asks for its process, which is not known")
        bench.listens(1, "0.0.0.0:22", owner: "7/sshd")
        #expect(bench.place("0.0.0.0:22") == "ignored: rule 1 of guestToHost.rules")
        bench.listens(2, "0.0.0.0:23", owner: "7/other")
        #expect(bench.place("0.0.0.0:23") == "127.0.0.1:23")
        // Another process has the port now.
        bench.listens(2, "0.0.0.0:23", owner: "8/sshd")
        #expect(bench.place("0.0.0.0:23") == "ignored: rule 1 of guestToHost.rules")
    }

    // MARK: The next free port

    @Test func `the next free port is taken, and kept`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.takesNextPort = true }])
        let holder = bench.hold("127.0.0.1:80")
        _ = bench.hold("127.0.0.1:81")
        bench.listens(1, "0.0.0.0:82")
        // What no scan shows.
        bench.sockets.taken.append(
            PlannedSocket(endpoint: Endpoint(.loopbackV4, 83), isV6Only: false))
        bench.listens(2, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:84")
        #expect(bench.place("0.0.0.0:82") == "127.0.0.1:82")
        bench.release(holder)
        bench.now += 10_000
        bench.table.retry()
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:84")
        bench.table.withdrew(ListenerID(rawValue: 2))
        bench.settle()
        bench.listens(3, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:84")
        // Without the rule it has its own port again.
        bench.setRules([])
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:80")
    }

    @Test func `a program that takes the next port moves the mirror on`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.takesNextPort = true }])
        _ = bench.hold("127.0.0.1:80")
        bench.listens(1, "[::]:80")
        #expect(bench.place("[::]:80") == "127.0.0.1:81,[::1]:81")
        bench.now += 1_000
        bench.table.localWants(.tcp, Endpoint(.anyV4, 81), process: "7/x")
        bench.settle()
        #expect(bench.place("[::]:80") == "127.0.0.1:82,[::1]:82")
    }

    @Test func `a place of a rule goes before a port that was the next`() {
        let bench = Bench(.loopback)
        bench.setRules([
            rule(1, "tcp/80") { $0.takesNextPort = true },
            rule(2, "tcp/90") { $0.target = RuleTarget("81") },
        ])
        _ = bench.hold("127.0.0.1:80")
        bench.listens(1, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:81")
        bench.listens(2, "0.0.0.0:90")
        #expect(bench.place("0.0.0.0:90") == "127.0.0.1:81")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:82")
    }

    @Test func `a wildcard at the next port covers the listeners of its port`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.takesNextPort = true }])
        _ = bench.hold("127.0.0.1:80")
        bench.listens(1, "0.0.0.0:80")
        bench.listens(2, "127.0.0.1:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:81")
        #expect(bench.place("127.0.0.1:80") == "covered: by 127.0.0.1:81")
    }
}
