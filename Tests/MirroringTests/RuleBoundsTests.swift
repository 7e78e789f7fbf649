import Posix
import TestSupport
import Testing
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// What a peer can make of the rules of this machine.
@Suite struct RuleBoundsTests {
    private func loopback(_ number: Int) -> IPAddress {
        .v4(IPv4Address(bits: 0x7f00_0000 + UInt32(number)))
    }

    // MARK: What it costs

    @Test func `a listener that comes and goes makes no other one be compared with the rules`() {
        func cost(rules: Int) -> Duration {
            let bench = Bench(.loopback)
            bench.setRules(
                (0..<rules).map { number in
                    var rule = rule(number + 1, nil) { $0.isIgnored = true }
                    rule.match.process = "*a*b*\(number)"
                    return rule
                })
            for number in 1...255 {
                bench.say(UInt32(number), "\(loopback(number)):80")
            }
            bench.settle()
            return processorTime {
                for turn in 0..<10 as Range<UInt32> {
                    bench.listens(1_000 + turn, "127.0.9.9:80")
                    bench.table.withdrew(ListenerID(rawValue: 1_000 + turn))
                    bench.settle()
                }
            }
        }
        let (without, with) = (cost(rules: 0), cost(rules: 100))
        #expect(with < without * 3 / 2 + .milliseconds(50), "\(with), and \(without) without rules")
    }

    @Test func `a rule that asks for a process hears of another one, and of other rules`() {
        let bench = Bench(.loopback)
        var ssh = rule(1, nil) { $0.isIgnored = true }
        ssh.match.process = "sshd"
        bench.setRules([ssh])
        bench.listens(1, "127.0.0.1:80", owner: "7/x")
        #expect(bench.place("127.0.0.1:80") == "127.0.0.1:80")
        bench.listens(1, "127.0.0.1:80", owner: "7/sshd")
        #expect(bench.place("127.0.0.1:80").hasPrefix("ignored"))
        ssh.match.process = "y"
        bench.setRules([ssh])
        #expect(bench.place("127.0.0.1:80") == "127.0.0.1:80")
    }

    /// Compares with the same without listeners that are in the way: what a settling costs anyway.
    @Test func `searches for free ports have a budget, and end`() {
        func bench(isTaken: Bool) -> (Bench, Duration) {
            let bench = Bench(.loopback)
            bench.setRules([rule(1, "tcp/80") { $0.takesNextPort = true }])
            // The peer has listeners at all ports that could be taken instead.
            for port in 81...1_080 { bench.say(UInt32(port), "127.0.200.1:\(port)") }
            if isTaken { _ = bench.hold("0.0.0.0:80") }
            for number in 1...100 {
                bench.say(UInt32(10_000 + number), "\(loopback(number)):80")
            }
            let took = processorTime { bench.settle() }
            return (bench, took)
        }
        let (taken, took) = bench(isTaken: true)
        let (_, free) = bench(isTaken: false)
        #expect(took < free + .milliseconds(250), "\(took), and \(free) without a search")
        // With time, all of them end.
        taken.table.withdrew(ListenerID(rawValue: 1_080))
        for _ in 0..<150 {
            taken.now += 2_000
            taken.table.retry()
            taken.settle()
        }
        #expect(taken.place("127.0.0.1:80") == "127.0.0.1:1080")
        #expect(taken.place("127.0.0.100:80") == "127.0.0.100:1080")
    }

    @Test func `a search that found nothing is not repeated when the port is settled again`() {
        let bench = Bench(.loopback)
        bench.setRules([
            rule(1, "tcp/80") {
                $0.target = RuleTarget("127.0.0.1:80")
                $0.takesNextPort = true
            }
        ])
        for port in 81...1_080 { bench.say(UInt32(port), "127.0.200.1:\(port)") }
        bench.listens(1, "127.0.0.2:80")
        bench.listens(2, "127.0.0.3:80")
        let taken = "conflict: the mirror of 127.0.0.2:80 holds 127.0.0.1:80"
        for number in 0..<5 as Range<UInt32> {
            bench.now += 100
            bench.listens(3 + number, "127.0.1.\(number):80")
            #expect(bench.place("127.0.0.3:80") == taken)
            #expect(bench.entry("127.0.0.3:80")?.backoff.maySearch(bench.now) == false)
        }
        bench.table.withdrew(ListenerID(rawValue: 1_080))
        bench.now += 60_000
        bench.table.retry()
        #expect(bench.place("127.0.0.3:80") == "127.0.0.1:1080")
    }

    @Test func `ports that are kept for listeners make room when those are gone`() {
        let remaps = Remaps()
        func key(_ number: Int) -> ListenerKey {
            ListenerKey(kind: .tcp, endpoint: Endpoint(loopback(number), 80), isV6Only: false)
        }
        for number in 1...Remaps.mostKept { remaps.keep(81, instead: 80, for: key(number)) }
        #expect(!remaps.mayKeep(key(9_000)) && remaps.mayKeep(key(7)))
        remaps.note(key(7), isGone: true)
        remaps.note(key(8), isGone: true)
        remaps.note(key(8), isGone: false)
        #expect(remaps.mayKeep(key(9_000)))
        remaps.keep(82, instead: 80, for: key(9_000))
        #expect(remaps.kept(for: key(9_000), instead: 80) == 82)
        #expect(remaps.kept(for: key(7), instead: 80) == nil)
        #expect(remaps.kept(for: key(8), instead: 80) == 81 && !remaps.mayKeep(key(7)))
    }

    @Test func `more mirrors than a port may have find no place at it`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, nil) { $0.target = RuleTarget("8080") }])
        let most = MirrorTable.maxInGroup
        for number in 1...most + 44 {
            bench.say(UInt32(number), "\(loopback(number)):\(1_000 + number)")
        }
        bench.settle()
        #expect(bench.sockets.bound.count == most)
        let left = bench.table.all.filter { $0.outcome.state == .limit }
        #expect(left.count == 44)
        #expect(left.allSatisfy { $0.outcome.reason == .tooManyOnPort(most) })
        // One goes: another one has its place.
        for entry in bench.table.all where entry.outcome.state == .active {
            bench.table.withdrew(entry.listenerID!)
            break
        }
        bench.settle()
        bench.now += 2_000
        bench.table.retry()
        bench.settle()
        #expect(bench.sockets.bound.count == most)
    }

    // MARK: Places

    @Test func `a client of a moved mirror gets no listener that is mirrored elsewhere`() throws {
        let bench = Bench()
        var moved = rule(1, "tcp/80") { $0.target = RuleTarget("8080") }
        moved.match.address = .anyV4
        bench.setRules([moved])
        bench.listens(1, "[::]:80")
        bench.listens(2, "0.0.0.0:80")
        bench.listens(3, "127.0.0.1:80")
        #expect(bench.place("127.0.0.1:80") == "covered: by [::]:80")
        func target(_ endpoint: String) throws -> ListenerID? {
            let socket = try #require(
                bench.sockets.bound.first { $0.planned.endpoint == Endpoint(endpoint) })
            return socket.target(.loopbackV4)?.number
        }
        #expect(try target("0.0.0.0:8080") == ListenerID(rawValue: 2))
        #expect(try target("[::]:80") == ListenerID(rawValue: 3))
    }

    @Test func `a listener's own port goes before one that was taken as the next`() {
        let bench = Bench(.loopback)
        bench.setRules([rule(1, "tcp/80") { $0.takesNextPort = true }])
        _ = bench.hold("127.0.0.1:80")
        bench.listens(1, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:81")
        bench.listens(2, "0.0.0.0:81")
        #expect(bench.place("0.0.0.0:81") == "127.0.0.1:81")
        #expect(bench.place("0.0.0.0:80") == "127.0.0.1:82")
    }

    @Test func `a mirror at an address that is not here closes no other one`() {
        let bench = Bench()
        bench.sockets.isElsewhere = { $0 == IPAddress("10.9.9.9")! }
        bench.setRules([rule(1, "tcp/80") { $0.target = RuleTarget("10.9.9.9:8080") }])
        bench.listens(1, "0.0.0.0:8080")
        let socket = bench.sockets.bound.first
        bench.listens(2, "0.0.0.0:80")
        #expect(bench.place("0.0.0.0:80").hasPrefix("unavailable"))
        for _ in 0..<5 {
            bench.now += 300_000
            bench.table.retry()
            bench.settle()
            #expect(bench.place("0.0.0.0:8080") == "0.0.0.0:8080")
        }
        #expect(bench.sockets.bound.first === socket, "it was never closed")
        #expect(bench.sockets.bound.count == 1)
    }
}
