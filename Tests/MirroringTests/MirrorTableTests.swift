import Logging
import Posix
import TestSupport
import Testing
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// A machine's addresses without sockets: one per address and port, wildcards against what they cover, as a
/// kernel does without SO_REUSEPORT.
final class FakeSockets: MirrorSocketFactory {
    final class Bound: MirrorSocket {
        let planned: PlannedSocket
        let transport: TransportProtocol
        let target: FindTarget
        private weak var owner: FakeSockets?
        var isPaused = false

        init(
            _ planned: PlannedSocket, _ transport: TransportProtocol,
            _ target: @escaping FindTarget,
            _ owner: FakeSockets
        ) {
            self.planned = planned
            self.transport = transport
            self.target = target
            self.owner = owner
        }

        func pause(_ isPaused: Bool) { self.isPaused = isPaused }
        func close() { owner?.bound.removeAll { $0 === self } }
    }

    var bound: [Bound] = []
    /// Sockets of other programs.
    var taken: [PlannedSocket] = []
    /// What binding a port below 1024 ends with.
    var privileged: SystemError?
    /// Which addresses are no address of this machine.
    var isElsewhere: (IPAddress) -> Bool = { _ in false }
    var binds = 0
    var own: [IPAddress] = [.loopbackV4, .loopbackV6]

    func localAddresses() -> [IPAddress] { own }

    func open(
        _ planned: PlannedSocket, _ transport: TransportProtocol, target: @escaping FindTarget
    ) throws(SystemError) -> any MirrorSocket {
        binds += 1
        if let privileged, planned.endpoint.port < 1_024 { throw privileged }
        if isElsewhere(planned.endpoint.address) { throw SystemError("bind", 99) }
        let others =
            taken + bound.filter { $0.transport == transport }.map(\.planned)
        guard !others.contains(where: { $0.covers(planned) || planned.covers($0) }) else {
            throw SystemError("bind", 98)
        }
        let socket = Bound(planned, transport, target, self)
        bound.append(socket)
        return socket
    }

    var addresses: Set<String> { Set(bound.map(\.planned.endpoint.description)) }
}

final class Observer: MirrorTableObserver {
    var changes: [String] = []
    func mirrorChanged(_ entry: MirrorEntry) {
        changes.append("\(entry.key.endpoint) \(entry.outcome.state.name)")
    }
    func ownerChanged(_ entry: MirrorEntry) {
        changes.append("\(entry.key.endpoint) of \(entry.owner.container?.name ?? "-")")
    }
    func mirrorGone(_ entry: MirrorEntry) { changes.append("\(entry.key.endpoint) gone") }
    func reportsWait() {}
}

/// A table with a clock, without ports and without a loop.
final class Bench {
    let sockets = FakeSockets()
    let observer = Observer()
    let local = LocalListeners()
    var now: UInt64 = 10_000
    private(set) var table: MirrorTable!

    init(_ bind: WildcardBind = .same) {
        table = MirrorTable(
            policy: MirrorPolicy(
                bind: bind, mirrorIgnore: [], offerIgnore: [], offersUnsupported: true),
            hasIPv6: true, local: local, sockets: sockets, observer: observer,
            clock: { [unowned self] in now })
    }

    func say(_ id: UInt32, _ endpoint: String, isV6Only: Bool = false, container: String = "") {
        table.advertised(
            ListenerMessage(
                id: ListenerID(rawValue: id), kind: 1, isV6Only: isV6Only,
                endpoint: Endpoint(endpoint)!, uid: 0, owner: "1/x", container: container))
    }

    /// A socket that is more, or less, than its address says.
    func say(_ id: UInt32, udp endpoint: String, obstacle: String = "", shares: Bool = false) {
        var message = ListenerMessage(
            id: ListenerID(rawValue: id), kind: 2, isV6Only: false,
            endpoint: Endpoint(endpoint)!, uid: 0, owner: "", container: "")
        message.obstacle = obstacle
        message.sharesPort = shares
        table.advertised(message)
        settle()
    }

    /// One listener of the desktop's own.
    func hold(_ endpoint: String, owner: SocketOwner? = nil, isMirror: Bool = false)
        -> ListenerKey
    {
        let key = ListenerKey(kind: .tcp, endpoint: Endpoint(endpoint)!, isV6Only: false)
        sockets.taken.append(PlannedSocket(endpoint: key.endpoint, isV6Only: false))
        local.apply(
            .appeared(Listener(key: key, uid: 0, inode: 1, owner: owner, isMirror: isMirror)))
        table.localChange(key)
        settle()
        return key
    }

    func release(_ key: ListenerKey) {
        sockets.taken.removeAll { $0.endpoint == key.endpoint }
        table.localChange(key, gone: local.apply(.vanished(key)))
        settle()
    }

    func settle() { table.settleDirty() }

    var states: [String: String] {
        Dictionary(
            uniqueKeysWithValues: table.all.map {
                ($0.key.endpoint.description, $0.outcome.state.name)
            })
    }
}

@Suite struct MirrorTableTests {
    // MARK: Localhost in two families

    @Test func `a program on 127.0.0.1 keeps a mirror off [::1], before it and after it`() {
        for isFirst in [true, false] {
            let bench = Bench()
            let owner = SocketOwner(pid: 7, command: "postgres")
            if isFirst { _ = bench.hold("127.0.0.1:5432", owner: owner) }
            bench.say(1, "[::1]:5432")
            bench.settle()
            let key = bench.hold("127.0.0.1:5432", owner: owner)
            let entry = bench.table.all[0]
            #expect(bench.states == ["[::1]:5432": "conflict"] && bench.sockets.bound.isEmpty)
            #expect(
                entry.outcome.reason
                    == .otherFamily(owner: "7/postgres", Endpoint(.loopbackV4, 5_432)))
            bench.release(key)
            #expect(bench.sockets.addresses == ["[::1]:5432"])
        }
    }

    @Test func `a wildcard mirror beside a program on [::1] leaves 127.0.0.1 out`() {
        let bench = Bench()
        bench.sockets.own = ["10.0.0.1", "127.0.0.1", "::1", "fd77::1"].map { IPAddress($0)! }
        _ = bench.hold("[::1]:80")
        bench.say(1, "0.0.0.0:80")
        bench.say(2, "[::]:80")
        bench.settle()
        #expect(
            bench.sockets.addresses.isDisjoint(with: ["127.0.0.1:80", "[::1]:80", "0.0.0.0:80"]))
        #expect(bench.sockets.addresses.isSuperset(of: ["10.0.0.1:80", "[fd77::1]:80"]))
    }

    @Test func `a port that is named may stand beside the other family`() {
        let bench = Bench()
        var policy = bench.table.policy
        policy.mirrorOnly = [PortRule("*/*")!]
        bench.table.setPolicy(policy)
        _ = bench.hold("127.0.0.1:80")
        bench.say(1, "[::1]:80")
        bench.settle()
        // Whoever names all ports did not think of this one.
        #expect(bench.sockets.addresses == [])
        policy.mirrorOnly = [PortRule("tcp/80")!]
        bench.table.setPolicy(policy)
        #expect(bench.sockets.addresses == ["[::1]:80"])
    }

    @Test func `a container that becomes known widens its mirror`() {
        let bench = Bench(.auto)
        bench.say(1, "0.0.0.0:80")
        bench.settle()
        #expect(bench.sockets.addresses == ["127.0.0.1:80"])
        bench.say(1, "0.0.0.0:80", container: "abc/web")
        bench.settle()
        #expect(bench.sockets.addresses == ["0.0.0.0:80"])
        bench.say(1, "0.0.0.0:80")
        bench.settle()
        #expect(bench.sockets.addresses == ["127.0.0.1:80"])
    }

    @Test func `a peer that is not to know processes is told the address only`() {
        let bench = Bench()
        bench.table.policy.tellsOwners = false
        _ = bench.hold("127.0.0.1:80", owner: SocketOwner(pid: 7, command: "nginx"))
        bench.say(1, "127.0.0.1:80")
        bench.settle()
        #expect(bench.table.nextReport()?.reason == "127.0.0.1:80 is in use")
        #expect(bench.table.all[0].outcome.reason.text.contains("7/nginx"))
    }

    @Test func `a conflict with another Twinport's mirror names the program and its pair`() {
        let bench = Bench()
        var owner = SocketOwner(pid: 7, command: "twinport")
        owner.pair = "guest web, settings /b.yaml"
        _ = bench.hold("127.0.0.1:80", owner: owner, isMirror: true)
        bench.say(1, "127.0.0.1:80")
        bench.settle()
        #expect(
            bench.table.all[0].outcome.reason.text
                == "another Twinport (7/twinport, guest web, settings /b.yaml) holds 127.0.0.1:80")
        bench.table.policy.tellsOwners = false
        #expect(bench.table.nextReport()?.reason == "127.0.0.1:80 is in use")
        let unseen = Bench()
        _ = unseen.hold("127.0.0.1:80", isMirror: true)
        unseen.say(1, "127.0.0.1:80")
        unseen.settle()
        #expect(
            unseen.table.all[0].outcome.reason == .twinportHolds("", Endpoint(.loopbackV4, 80)))
    }

    @Test func `nothing is bound before the turn ends, and one bind does`() {
        let bench = Bench()
        bench.say(1, "0.0.0.0:8000")
        #expect(bench.sockets.bound.isEmpty && bench.states == ["0.0.0.0:8000": "pending"])
        bench.settle()
        bench.settle()
        #expect(bench.sockets.binds == 1 && bench.states == ["0.0.0.0:8000": "active"])
        let report = bench.table.nextReport()
        #expect(report?.state == .active && report?.addresses == [Endpoint(.anyV4, 8_000)])
        #expect(bench.table.nextReport() == nil)
    }

    @Test func `a wildcard covers narrower listeners, and gives way to them`() throws {
        let bench = Bench()
        bench.say(1, "127.0.0.1:80")
        bench.settle()
        bench.say(2, "0.0.0.0:80")
        bench.settle()
        #expect(bench.states == ["127.0.0.1:80": "covered", "0.0.0.0:80": "active"])
        #expect(bench.sockets.addresses == ["0.0.0.0:80"])
        let find = try #require(bench.sockets.bound.first).target
        #expect(find(.loopbackV4)?.number == ListenerID(rawValue: 1), "the covered one was dialled")
        #expect(find(.v4(IPv4Address(10, 0, 0, 1)))?.number == ListenerID(rawValue: 2))
        bench.table.withdrew(ListenerID(rawValue: 2))
        bench.settle()
        #expect(bench.states == ["127.0.0.1:80": "active"])
        #expect(bench.sockets.addresses == ["127.0.0.1:80"])
    }

    @Test func `a conflict names its holder, and ends when that one leaves`() {
        let bench = Bench()
        let nginx = SocketOwner(pid: 7, command: "nginx")
        let key = bench.hold("0.0.0.0:80", owner: nginx)
        bench.say(1, "0.0.0.0:80")
        bench.settle()
        #expect(bench.table.all[0].outcome.state == .conflict)
        #expect(
            bench.table.all[0].outcome.reason
                == .heldBy(owner: "7/nginx", Endpoint(.anyV4, 80)))
        bench.release(key)
        #expect(
            bench.table.all[0].outcome
                == .init(
                    state: .conflict,
                    reason: .keptAfter(seconds: 5, owner: "7/nginx", Endpoint(.anyV4, 80))))
        bench.now += 4_999
        bench.table.retry()
        #expect(bench.sockets.bound.isEmpty, "free for a restart")
        bench.now += 1
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:80": "active"])
    }

    private static let lan = IPAddress.v4(IPv4Address(192, 168, 1, 5))
    private static let resolved = SocketOwner(pid: 812, command: "systemd-resolve")

    @Test func `a wildcard stands at the addresses that are free, and says which is not`() throws {
        let bench = Bench()
        bench.sockets.own = [.loopbackV4, .v4(IPv4Address(127, 0, 0, 53)), Self.lan, .loopbackV6]
        let key = bench.hold("127.0.0.53:53", owner: Self.resolved)
        bench.say(1, "0.0.0.0:53")
        bench.settle()
        let entry = bench.table.all[0]
        #expect(bench.sockets.addresses == ["127.0.0.1:53", "192.168.1.5:53"])
        #expect(entry.outcome.state == .active && entry.isPartial && entry.mayRecover)
        #expect(
            entry.outcome.reason.text == "all but 127.0.0.53:53, which 812/systemd-resolve holds")
        // Nothing is tried in vain, and an address that is new gets a socket.
        let binds = bench.sockets.binds
        bench.table.retry()
        #expect(bench.sockets.binds == binds)
        bench.sockets.own.append(.v4(IPv4Address(10, 0, 0, 1)))
        bench.table.retry()
        #expect(bench.sockets.addresses.contains("10.0.0.1:53"))
        // The holder may be restarting.
        bench.release(key)
        #expect(bench.sockets.addresses.count == 3 && entry.isPartial)
        bench.now += 5_000
        bench.table.retry()
        #expect(bench.sockets.addresses == ["0.0.0.0:53"] && entry.outcome.reason == .none)
    }

    @Test func `a dual-stack wildcard gives up the family, or the address, that is taken`() {
        let bench = Bench()
        bench.sockets.own = [.loopbackV4, .loopbackV6, Self.lan]
        let all = bench.hold("0.0.0.0:80")
        bench.say(1, "[::]:80")
        bench.settle()
        #expect(bench.states == ["[::]:80": "conflict"] && bench.sockets.bound.isEmpty)
        let usual = bench.table.policy
        var policy = usual
        policy.mirrorOnly = [PortRule("tcp/80")!]
        bench.table.setPolicy(policy)
        #expect(bench.sockets.bound.map(\.planned.endpoint) == [Endpoint(.anyV6, 80)])
        #expect(bench.sockets.bound.allSatisfy { $0.planned.isV6Only })
        bench.release(all)
        bench.now += 5_000
        _ = bench.hold("[::1]:80")
        bench.table.retry()
        #expect(bench.sockets.addresses == ["0.0.0.0:80"])
        bench.table.setPolicy(usual)
        #expect(bench.sockets.addresses == ["192.168.1.5:80"])
        #expect(bench.table.all[0].outcome.reason == .allBut(Endpoint(.loopbackV6, 80), owner: ""))
    }

    @Test func `a mirror leaves a process the address it asks for, and keeps the others`() {
        let bench = Bench()
        bench.sockets.own = [.loopbackV4, Self.lan]
        bench.say(1, "0.0.0.0:80")
        bench.settle()
        bench.table.localWants(.tcp, Endpoint("127.0.0.1:80")!, process: "7/nginx")
        #expect(bench.sockets.bound.isEmpty, "closed before the process binds")
        bench.settle()
        #expect(bench.sockets.addresses == ["192.168.1.5:80"])
        _ = bench.hold("127.0.0.1:80")
        bench.now += 6_000
        bench.table.retry()
        #expect(bench.sockets.addresses == ["192.168.1.5:80"])
    }

    @Test func `a socket with an obstacle is told, never bound, and in nobody's way`() {
        let bench = Bench()
        bench.say(1, udp: "0.0.0.0:8472", obstacle: "kernel-socket of vx0")
        bench.say(2, udp: "0.0.0.0:8473", obstacle: "words of a later version")
        #expect(bench.sockets.binds == 0)
        #expect(
            bench.states == ["0.0.0.0:8472": "unsupported", "0.0.0.0:8473": "unsupported"])
        let report = bench.table.nextReport()
        #expect(report?.reason == "kernel-socket of vx0" && report?.addresses == [])
        // The number of a program that has the port now; and the reverse.
        bench.table.withdrew(ListenerID(rawValue: 1))
        bench.say(3, udp: "0.0.0.0:8472")
        #expect(bench.states["0.0.0.0:8472"] == "active" && bench.sockets.binds == 1)
        bench.say(4, udp: "0.0.0.0:8472", obstacle: "other-namespace")
        #expect(bench.states["0.0.0.0:8472"] == "unsupported" && bench.sockets.bound.isEmpty)
        #expect(bench.table.all.count == 2 && bench.table.mirrored == 0)
    }

    @Test func `a shared mirror makes room for a program that shares its port, and comes back`() {
        let bench = Bench()
        bench.say(1, udp: "0.0.0.0:7400", shares: true)
        bench.say(2, udp: "0.0.0.0:7401")
        #expect(bench.sockets.bound.map(\.planned.sharesPort) == [true, false])
        let key = ListenerKey(kind: .udp, endpoint: Endpoint(.anyV4, 7_400), isV6Only: false)
        bench.local.apply(
            .appeared(
                Listener(
                    key: key, uid: 0, inode: 1, owner: SocketOwner(pid: 7, command: "dds"),
                    traits: .init(sharesPort: true))))
        bench.sockets.taken.append(PlannedSocket(endpoint: key.endpoint, isV6Only: false))
        bench.table.localChange(key)
        bench.settle()
        let entry = bench.table.all.first { $0.key == key }
        #expect(
            entry?.outcome == .init(state: .conflict, reason: .heldBy(owner: "7/dds", key.endpoint))
        )
        #expect(bench.sockets.addresses == ["0.0.0.0:7401"])
        bench.release(key)
        #expect(bench.sockets.addresses == ["0.0.0.0:7401"], "kept free for its restart")
        bench.now += 5_000
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:7400": "active", "0.0.0.0:7401": "active"])
    }

    @Test func `what listens in another network is in no mirror's way`() {
        let bench = Bench()
        let key = ListenerKey(kind: .udp, endpoint: Endpoint(.anyV4, 7_400), isV6Only: false)
        bench.local.apply(
            .appeared(
                Listener(key: key, uid: 0, inode: 1, traits: .init(obstacle: .otherNamespace))))
        #expect(
            bench.local.holder(
                of: PlannedSocket(endpoint: key.endpoint, isV6Only: false), kind: .udp) == nil)
    }

    @Test func `a service that restarts finds its port free, also while its end is not known yet`()
    {
        let bench = Bench()
        let key = bench.hold("127.0.0.1:80")
        bench.say(1, "127.0.0.1:80")
        bench.settle()
        for gap: UInt64 in [5, 100, 500, 2_000, 4_900] {
            bench.sockets.taken = []
            // The retry comes before the scan that shows that the socket is gone.
            bench.table.retry()
            #expect(bench.sockets.bound.isEmpty)
            bench.release(key)
            bench.now += gap
            bench.table.retry()
            #expect(bench.sockets.bound.isEmpty, "gap \(gap)")
            _ = bench.hold("127.0.0.1:80")
            bench.now += 100_000
            bench.table.retry()
            #expect(bench.states == ["127.0.0.1:80": "conflict"])
        }
        bench.release(key)
        bench.now += 5_000
        bench.table.retry()
        #expect(bench.states == ["127.0.0.1:80": "active"])
    }

    @Test
    func
        `a restart on both sides is still a restart, and a service that moved is mirrored at once`()
    {
        let bench = Bench()
        let key = bench.hold("127.0.0.1:80")
        bench.say(1, "127.0.0.1:80")
        bench.settle()
        bench.release(key)
        bench.table.withdrew(ListenerID(rawValue: 1))
        bench.say(2, "127.0.0.1:80")
        bench.say(3, "127.0.0.2:80")
        bench.settle()
        #expect(bench.sockets.addresses == ["127.0.0.2:80"], "the other did not wait for the port")
        let moved = Bench()
        moved.release(moved.hold("127.0.0.1:80"))
        moved.say(1, "127.0.0.1:80")
        moved.settle()
        #expect(moved.states == ["127.0.0.1:80": "active"])
    }

    @Test func `a mirror makes room for a local process, and not again within a minute`() {
        let bench = Bench()
        let wanted = Endpoint("127.0.0.1:80")!
        bench.say(1, "0.0.0.0:80")
        bench.say(2, "0.0.0.0:81")
        bench.settle()
        bench.table.localWants(.udp, wanted, process: "7/nginx")
        bench.table.localWants(.tcp, Endpoint("[::1]:80")!, process: "7/nginx")
        #expect(bench.sockets.bound.count == 2)
        bench.table.localWants(.tcp, wanted, process: "7/nginx")
        #expect(bench.sockets.addresses == ["0.0.0.0:81"], "closed before the process binds")
        bench.settle()
        #expect(
            bench.table.all.first { $0.key.endpoint.port == 80 }?.outcome
                == .init(
                    state: .conflict, reason: .keptFor(seconds: 5, owner: "7/nginx", wanted)))
        var closed = 1
        for _ in 0..<1_200 {
            bench.now += 100
            bench.table.retry()
            let before = bench.sockets.bound.count
            bench.table.localWants(.tcp, wanted, process: "7/nginx")
            if bench.sockets.bound.count < before { closed += 1 }
            bench.settle()
        }
        #expect(closed == 3, "a process that asks for two minutes")
        bench.now += 6_000
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:80": "active", "0.0.0.0:81": "active"])
    }

    @Test func `a denied port is tried again every two seconds`() {
        let bench = Bench()
        bench.sockets.privileged = SystemError("bind", 13)
        bench.say(1, "0.0.0.0:80")
        bench.settle()
        #expect(bench.table.all[0].outcome == .init(state: .denied, reason: .needsPrivilege(80)))
        bench.sockets.privileged = nil
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:80": "active"])
    }

    @Test func `binds that fail are not tried again however often a peer has the port settled`() {
        let bench = Bench()
        bench.sockets.privileged = SystemError("bind", 13)
        for host in 1...200 as ClosedRange<UInt32> { bench.say(host, "127.0.0.\(host):80") }
        bench.settle()
        #expect(bench.sockets.binds == 200)
        for round in 1...300 as ClosedRange<UInt32> {
            bench.say(1_000 + round, "127.0.1.1:80")
            bench.settle()
            bench.table.withdrew(ListenerID(rawValue: 1_000 + round))
            bench.settle()
        }
        #expect(bench.sockets.binds == 500, "one for each listener that is new")
        bench.sockets.privileged = nil
        bench.table.retry()
        #expect(bench.sockets.bound.count == 200)
    }

    @Test func `an outage keeps sockets, and SYNC closes what was not claimed again`() {
        let bench = Bench()
        bench.say(1, "0.0.0.0:80")
        bench.say(2, "0.0.0.0:81")
        bench.settle()
        bench.table.sessionLost()
        #expect(bench.sockets.bound.count == 2 && bench.sockets.bound[0].target(.loopbackV4) == nil)
        bench.say(9, "0.0.0.0:80")
        bench.table.synced()
        bench.settle()
        #expect(bench.sockets.addresses == ["0.0.0.0:80"] && bench.sockets.binds == 2)
        #expect(bench.sockets.bound[0].target(.loopbackV4)?.number == ListenerID(rawValue: 9))
    }

    @Test func `an owner that is learnt later is told, without a new state`() {
        let bench = Bench()
        bench.say(1, "10.0.0.1:80")
        bench.say(1, "10.0.0.1:80", container: "/web")
        bench.say(1, "10.0.0.1:80", container: "/web")
        #expect(bench.observer.changes == ["10.0.0.1:80 unsupported", "10.0.0.1:80 of web"])
    }

    @Test func `ten thousand local listeners on one port are taken in, and out, one by one`() {
        let local = LocalListeners()
        func listener(_ host: UInt32) -> Listener {
            let address = IPAddress.v4(IPv4Address(bits: 0x7f00_0000 + host))
            let key = ListenerKey(kind: .tcp, endpoint: Endpoint(address, 80), isV6Only: false)
            return Listener(key: key, uid: 0, inode: UInt64(host))
        }
        let took = processorTime {
            for host in 1...10_000 as ClosedRange<UInt32> { local.apply(.appeared(listener(host))) }
            for host in 1...10_000 as ClosedRange<UInt32> { local.apply(.updated(listener(host))) }
        }
        #expect(took < .seconds(5))
        let wildcard = PlannedSocket(endpoint: Endpoint(.anyV4, 80), isV6Only: false)
        #expect(local.holder(of: wildcard, kind: .tcp)?.inode == 1, "the earliest")
        local.apply(.vanished(listener(1).key))
        #expect(local.holder(of: wildcard, kind: .tcp)?.inode == 2)
        #expect(local.holder(of: wildcard, kind: .udp) == nil)
        let single = PlannedSocket(endpoint: listener(77).key.endpoint, isV6Only: false)
        #expect(local.holder(of: single, kind: .tcp)?.inode == 77)
        let free = PlannedSocket(endpoint: listener(20_000).key.endpoint, isV6Only: false)
        #expect(local.holder(of: free, kind: .tcp) == nil)
    }

    @Test func `accepting pauses and resumes on every socket`() {
        let bench = Bench(.loopback)
        bench.say(1, "[::]:80")
        bench.settle()
        #expect(bench.sockets.addresses == ["127.0.0.1:80", "[::1]:80"])
        bench.table.pauseAccepting(true)
        #expect(bench.sockets.bound.map(\.isPaused) == [true, true])
        bench.table.pauseAccepting(false)
        #expect(bench.sockets.bound.map(\.isPaused) == [false, false])
    }

    /// Whatever came before, the same listeners, holders and policy end in the same mirrors.
    @Test func `settling ends in the same place from anywhere`() {
        var generator = SeededGenerator()
        let places = ["0.0.0.0:80", "127.0.0.1:80", "127.0.0.2:80", "[::]:80", "[::1]:80"]
        for _ in 0..<400 {
            let bench = Bench()
            var held: [ListenerKey] = []
            for step in 0..<30 as Range<UInt32> {
                let place = places.randomElement(using: &generator)!
                switch Int.random(in: 0..<6, using: &generator) {
                case 0, 1: bench.say(1 + UInt32(places.firstIndex(of: place)!), place)
                case 2:
                    let number = UInt32.random(in: 1...5, using: &generator)
                    bench.table.withdrew(ListenerID(rawValue: number))
                case 3 where held.isEmpty && !bench.sockets.addresses.contains(place):
                    let planned = PlannedSocket(endpoint: Endpoint(place)!, isV6Only: false)
                    guard
                        !bench.sockets.bound.contains(where: {
                            $0.planned.covers(planned) || planned.covers($0.planned)
                        })
                    else { continue }
                    held.append(bench.hold(place))
                case 4: if let key = held.popLast() { bench.release(key) }
                default: bench.settle()
                }
                bench.now += UInt64(step) * 1_000
            }
            bench.settle()
            bench.now += 1_000_000
            for _ in 0..<3 { bench.table.retry() }
            let fresh = Bench()
            for key in held { _ = fresh.hold(key.endpoint.description) }
            for entry in bench.table.all.sorted(by: { $0.sequence < $1.sequence }) {
                fresh.say(UInt32(100 + entry.sequence), entry.key.endpoint.description)
            }
            fresh.settle()
            #expect(bench.states == fresh.states, "seed \(generator.seed)")
            #expect(bench.sockets.addresses == fresh.sockets.addresses, "seed \(generator.seed)")
            #expect(bench.table.mirrored == bench.table.all.count { !$0.sockets.isEmpty })
        }
    }
}

@Suite struct MirrorVerdictTests {
    private func verdict(
        _ text: String, _ change: (inout MirrorPolicy) -> Void = { _ in },
        container: Container? = nil, ownerIsKnown: Bool = true
    ) -> MirrorVerdict {
        var policy = MirrorPolicy.host
        policy.bind = .same
        change(&policy)
        let key = ListenerKey(kind: .tcp, endpoint: Endpoint(text)!, isV6Only: false)
        return MirrorVerdict(
            on: key, container: container, ownerIsKnown: ownerIsKnown, policy: policy,
            hasIPv6: true)
    }

    @Test func `the owner of a new listener is not known yet, later it is not known`() {
        let bench = Bench()
        bench.table.setPolicy(
            MirrorPolicy(
                bind: .same, mirrorIgnore: [], scope: .containers, offerIgnore: [],
                offersUnsupported: true))
        bench.table.advertised(
            ListenerMessage(
                id: ListenerID(rawValue: 1), kind: 1, isV6Only: false,
                endpoint: Endpoint("0.0.0.0:80")!, uid: 0, owner: "", container: ""))
        bench.settle()
        #expect(bench.states == ["0.0.0.0:80": "pending"])
        #expect(bench.table.all[0].outcome.reason == .ownerNotKnownYet)
        bench.now += 1_900
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:80": "pending"])
        bench.now += 1_900
        bench.table.retry()
        #expect(bench.states == ["0.0.0.0:80": "ignored"])
        #expect(bench.table.all[0].outcome.reason == .unknownOwner)
    }

    @Test func `a forward of the settings goes before a mirror, which stands around it`() {
        let bench = Bench()
        bench.sockets.own = [.loopbackV4, IPAddress("10.0.0.1")!]
        bench.say(1, "127.0.0.1:9229")
        bench.say(2, "127.0.0.1:9230")
        bench.say(3, "0.0.0.0:9231")
        bench.settle()
        #expect(bench.sockets.bound.count == 3)
        func forward(_ text: String, _ number: Int) -> LocalListeners.ForwardSocket {
            let planned = PlannedSocket(endpoint: Endpoint(text)!, isV6Only: false)
            return LocalListeners.ForwardSocket(socket: planned, number: number)
        }
        let list = [forward("127.0.0.1:9229", 1), forward("127.0.0.1:9231", 2)]
        func set(_ list: [LocalListeners.ForwardSocket]) -> Set<Port> {
            let ports = bench.local.setForwards(list)
            for port in ports { bench.table.forwardChange(at: port) }
            bench.settle()
            return ports
        }
        #expect(set(list) == [9_229, 9_231])
        #expect(bench.sockets.addresses == ["127.0.0.1:9230", "10.0.0.1:9231"])
        let reasons = Dictionary(
            uniqueKeysWithValues: bench.table.all.map {
                ($0.key.endpoint.port, $0.outcome.reason)
            })
        #expect(reasons[9_229] == .forwardHolds(1, Endpoint("127.0.0.1:9229")!))
        #expect(reasons[9_231] == .allBut(Endpoint("127.0.0.1:9231")!, owner: "forward 2"))
        #expect(bench.states["127.0.0.1:9229"] == "conflict")
        // A mirror that comes later does not take the place either.
        bench.say(4, "0.0.0.0:9229")
        bench.settle()
        #expect(bench.sockets.addresses.contains("10.0.0.1:9229"))
        #expect(!bench.sockets.addresses.contains("127.0.0.1:9229"))
        // The same list again is no news; without it the mirrors are whole.
        #expect(set(list) == [])
        #expect(set([]) == [9_229, 9_231])
        #expect(bench.sockets.addresses == ["127.0.0.1:9230", "0.0.0.0:9231", "0.0.0.0:9229"])
    }

    @Test func `the first objection counts: address, switch, rule, scope`() {
        let all: (inout MirrorPolicy) -> Void = {
            $0.mirrorsDisabled = "x.enabled is false"
            $0.mirrorIgnore = [PortRule("tcp/80")!]
            $0.scope = .containers
        }
        #expect(verdict("10.0.0.1:80", all) == .out(.unsupported, .interfaceAddress))
        #expect(verdict("0.0.0.0:80", all) == .out(.disabled, .switchedOff("x.enabled is false")))
        let on: (inout MirrorPolicy) -> Void = {
            all(&$0)
            $0.mirrorsDisabled = nil
        }
        #expect(verdict("0.0.0.0:80", on) == .out(.ignored, .rule(PortRule("tcp/80")!)))
        #expect(verdict("0.0.0.0:81", on) == .out(.ignored, .notInContainer))
        #expect(verdict("0.0.0.0:81", on, ownerIsKnown: false) == .out(.ignored, .unknownOwner))
        let planned = PlannedSocket(endpoint: Endpoint(.anyV4, 81), isV6Only: false)
        #expect(verdict("0.0.0.0:81", on, container: .unknown) == .bind([planned]))
    }
}
