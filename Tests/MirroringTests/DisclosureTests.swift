import Posix
import Testing
import TwinportModel
import Wire

@testable import Mirroring

/// What the peer is told of its own listeners.
@Suite struct DisclosureTests {
    /// Another program has port 80 and 127.0.0.1:90; port 81 is left out by a rule; 82 is mirrored.
    private func bench(_ change: (inout MirrorPolicy) -> Void) -> Bench {
        let bench = Bench()
        var policy = MirrorPolicy.host
        policy.bind = .same
        policy.leavesOutOwnServices = false
        policy.mirrorIgnore = [PortRule("tcp/81")!]
        change(&policy)
        bench.table.setPolicy(policy)
        bench.sockets.own = ["10.0.0.1", "127.0.0.1"].map { IPAddress($0)! }
        for held in ["127.0.0.1:80", "127.0.0.1:90"] {
            _ = bench.hold(held, owner: SocketOwner(pid: 7, command: "nginx"))
        }
        for (number, listener) in ["127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82", "0.0.0.0:90"]
            .enumerated()
        {
            bench.say(UInt32(number), listener)
        }
        bench.settle()
        return bench
    }

    /// What was told last of each listener.
    private func told(_ bench: Bench) -> [UInt32: String] {
        var told: [UInt32: String] = [:]
        while let report = bench.table.nextReport() {
            told[report.id.rawValue] =
                report.state.name + (report.reason.isEmpty ? "" : ": \(report.reason)")
        }
        return told
    }

    private static let open = [
        UInt32(0): "conflict: 127.0.0.1:80 is in use", 1: "ignored: tcp/81", 2: "active",
        3: "active: all but 127.0.0.1:90, which is in use",
    ]
    private static let closed = [
        UInt32(0): "ignored: the other machine does not say why",
        1: "ignored: the other machine does not say why", 2: "active", 3: "active",
    ]

    @Test func `a peer that may know the listeners here is told why`() {
        #expect(told(bench { _ in }) == Self.open)
    }

    @Test func `a port whose listeners are kept from the peer is not in use for all that it hears`()
    {
        let settings: [(inout MirrorPolicy) -> Void] = [
            { $0.offerOnly = [] }, { $0.offersDisabled = "hostToGuest.enabled is false" },
            { $0.offerIgnore = [PortRule("tcp/*")!] }, { $0.offerOnly = [PortRule("udp/*")!] },
        ]
        for change in settings { #expect(told(bench(change)) == Self.closed) }
        // A port that is named is no secret.
        var one = Self.closed
        one[0] = Self.open[0]
        #expect(told(bench { $0.offerOnly = [PortRule("tcp/80")!] }) == one)
    }

    @Test func `whether a port is in use is not told by what else would keep a mirror from it`() {
        // 127.0.0.1:443 is in use here, 444 is not; the helper may bind neither.
        let bench = Bench()
        var policy = MirrorPolicy.host
        policy.offerOnly = []
        bench.table.setPolicy(policy)
        bench.sockets.privileged = SystemError("bind", 13)
        _ = bench.hold("127.0.0.1:443", owner: SocketOwner(pid: 7, command: "nginx"))
        for (number, listener) in ["[::1]:443", "[::1]:444"].enumerated() {
            bench.say(UInt32(number), listener)
        }
        bench.settle()
        #expect(Set(bench.states.values) == ["conflict", "denied"])
        #expect(Set(told(bench).values) == ["ignored: the other machine does not say why"])
    }

    @Test func `a mirror at all addresses but one looks whole`() throws {
        for (settings, whole) in [(PortRule("tcp/90")!, false), (PortRule("tcp/91")!, true)] {
            let bench = bench { $0.offerOnly = [settings] }
            var told: [Endpoint] = []
            while let report = bench.table.nextReport() {
                if report.id.rawValue == 3 { told = report.addresses }
            }
            #expect(told == [Endpoint(whole ? "0.0.0.0:90" : "10.0.0.1:90")!])
        }
    }

    @Test func `the report of this machine says why all the same, and a new setting is told`() {
        let bench = bench { $0.offerOnly = [] }
        _ = told(bench)
        let reasons = bench.table.all.map(\.outcome.reason.text)
        #expect(reasons.contains("7/nginx holds 127.0.0.1:80") && reasons.contains("tcp/81"))
        var policy = bench.table.policy
        policy.offerOnly = nil
        bench.table.setPolicy(policy)
        #expect(told(bench) == Self.open)
        policy.tellsOwners = true
        policy.offerOnly = []
        bench.table.setPolicy(policy)
        #expect(told(bench)[0] == "conflict: 7/nginx holds 127.0.0.1:80")
    }
}
