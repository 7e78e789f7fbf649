import EventLoop
import Foundation
import Listeners
import Logging
import Posix
import Sockets
import TestSupport
import Testing
import Tunnel
import TwinportModel
import Wire

@testable import Mirroring

/// A side with real sockets on loopback, and a peer that says what the test says.
private final class Rig {
    private final class Silent: Link {
        func read(into buffer: IOBuffer) throws(LinkError) -> Int? { nil }
        func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? { nil }
        func watchWritable(_ isWanted: Bool) {}
        func attach(_ owner: any LinkOwner) {}
        func close() {}
    }

    let loop: Loop
    let side: Forwarder
    let session: Session
    let log = LogStore()

    init() throws {
        loop = try Loop()
        let store = log
        side = try Forwarder(
            loop: loop, role: .host, policy: .guest, own: OwnSockets(),
            log: Logger(label: "test", factory: { _ in store.handler }))
        session = Session(
            link: Silent(),
            hello: Hello(
                role: .host, instance: 1, epoch: 1, os: "", kernel: "", hostname: "", program: ""),
            handshake: nil, clock: { 0 })
        side.tunnelUp(session)
    }

    func close() {
        side.close()
        for _ in 0..<4 { loop.runOnce() }
        loop.close()
    }

    func advertise(
        _ id: UInt32, _ endpoint: Endpoint, kind: UInt8 = 1, owner: String = "",
        container: String = ""
    ) {
        side.received(
            .listener(
                ListenerMessage(
                    id: ListenerID(rawValue: id), kind: kind, isV6Only: false, endpoint: endpoint,
                    uid: 0, owner: owner, container: container)))
    }

    func withdraw(_ id: UInt32) {
        side.received(.listenerGone(ListenerID(rawValue: id)))
    }

    func states() -> [String: Int] {
        side.ports().reduce(into: [:]) { $0[$1.state.name, default: 0] += 1 }
    }
}

/// Counts lines.
final class LogStore: @unchecked Sendable {
    var lines: [String] = []
    var handler: Handler { Handler(store: self) }

    struct Handler: LogHandler {
        let store: LogStore
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            store.lines.append("\(event.message) \(event.metadata ?? [:])")
        }
    }
}

private func loopback(_ host: Int, _ port: UInt16) -> Endpoint {
    Endpoint(.v4(IPv4Address(bits: 0x7f00_0000 + UInt32(host))), port)
}

@Suite(.serialized) struct HostileListenerTests {
    @Test func `a listener on port 0 binds nothing`() throws {
        let rig = try Rig()
        defer { rig.close() }
        rig.advertise(1, loopback(1, 0))
        rig.advertise(2, Endpoint(.anyV4, 0), kind: 2)
        rig.loop.runOnce()
        #expect(rig.states() == ["unsupported": 2])
        #expect(rig.side.ports().allSatisfy { $0.mirrors.isEmpty && $0.reason == .portZero })
    }

    @Test func `with scope containers, a listener waits until its container is known`() throws {
        let rig = try Rig()
        defer { rig.close() }
        var policy = MirrorPolicy.guest
        policy.scope = .containers
        rig.side.setPolicy(policy)
        rig.advertise(1, loopback(1, 17_311))
        rig.loop.runOnce()
        #expect(rig.side.ports()[0].reason == .ownerNotKnownYet)
        #expect(rig.side.ports()[0].state == .pending)
        rig.advertise(1, loopback(1, 17_311), owner: "7/nc")
        rig.loop.runOnce()
        #expect(rig.side.ports()[0].reason == .notInContainer)
        rig.advertise(1, loopback(1, 17_311), owner: "7/nc", container: "/web")
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 1])
        rig.advertise(1, loopback(1, 17_311), owner: "7/nc")
        rig.loop.runOnce()
        #expect(rig.states() == ["ignored": 1])
    }

    @Test func `a number that comes to mean another socket closes the first one's mirror`() throws {
        let rig = try Rig()
        defer { rig.close() }
        rig.advertise(1, loopback(1, 17_301))
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 1])
        rig.advertise(1, loopback(1, 17_302))
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 1])
        #expect(rig.side.ports()[0].mirrors == [loopback(1, 17_302)])
    }

    /// A socket that no scan lists, as a client's: the wildcard cannot be, the narrower mirror need not pay for it.
    @Test func `a wildcard that something unseen is in the way of does not end narrower mirrors`()
        throws
    {
        let rig = try Rig()
        defer { rig.close() }
        var policy = MirrorPolicy.guest
        policy.bind = .same
        rig.side.setPolicy(policy)
        var unseen: Socket? = try Socket.boundUDP(to: loopback(9, 17_314), isV6Only: false) { _ in }
        rig.advertise(1, Endpoint(.anyV4, 17_314), kind: 2)
        rig.advertise(2, loopback(1, 17_314), kind: 2)
        rig.loop.runOnce()
        #expect(rig.states() == ["conflict": 1, "active": 1])
        let narrow = { rig.side.mirrors.all.flatMap(\.sockets).first }
        // Kept, so that no other one can have its place in memory.
        let before = try #require(narrow())
        for _ in 0..<5 {
            rig.side.mirrors.retry()
            rig.loop.runOnce()
        }
        #expect(narrow() === before)
        #expect(rig.states() == ["conflict": 1, "active": 1])
        // What is seen to leave is looked at at once.
        unseen = nil
        rig.side.mirrors.localChange(
            ListenerKey(kind: .udp, endpoint: loopback(9, 17_314), isV6Only: false))
        rig.loop.runOnce()
        #expect(unseen == nil && rig.states() == ["active": 1, "covered": 1])
    }

    @Test func `a mirror of two sockets says which is in conflict, whatever the other displaces`()
        throws
    {
        let rig = try Rig()
        defer { rig.close() }
        let holder = try Socket.boundUDP(to: loopback(1, 17_317), isV6Only: false) { _ in }
        rig.advertise(1, Endpoint(.loopbackV6, 17_317), kind: 2)
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 1])
        // Guests' mirrors are of loopback: this one is 127.0.0.1 and ::1.
        rig.advertise(2, Endpoint(.anyV6, 17_317), kind: 2)
        for _ in 0..<3 {
            rig.loop.runOnce()
            #expect(rig.states() == ["conflict": 1, "covered": 1])
            let row = try #require(rig.side.ports().first { $0.state == .conflict })
            #expect(row.reason == .inUse(loopback(1, 17_317)) && row.mirrors.count == 1)
            rig.side.mirrors.retry()
        }
        withExtendedLifetime(holder.descriptor) {}
    }

    @Test func `attempts at the cost of others come at growing intervals, and never stop`() {
        var backoff = RebindBackoff()
        var (now, attempts) = (UInt64(0), [UInt64]())
        while attempts.count < 12 {
            if backoff.allows(now) {
                attempts.append(now)
                backoff.failed(now, closedOthers: true)
            }
            now += 500
        }
        let gaps = zip(attempts.dropFirst(), attempts).map { ($0 - $1) / 1_000 }
        #expect(gaps == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256])
    }

    @Test func `a policy that changes idle times only settles nothing`() throws {
        let rig = try Rig()
        defer { rig.close() }
        rig.advertise(1, loopback(1, 17_315))
        let holder = try Socket.boundTCP(to: loopback(1, 17_315), isV6Only: false)
        try holder.listenForConnections()
        rig.loop.runOnce()
        #expect(rig.states() == ["conflict": 1])
        // Were the group settled now, this would be seen.
        close(holder)
        var policy = MirrorPolicy.guest
        policy.udpIdle = 7_000
        rig.side.setPolicy(policy)
        #expect(rig.side.policy.udpIdle == 7_000 && rig.states() == ["conflict": 1])
        policy.mirrorIgnore = [PortRule(transport: .udp, ports: 1...2)]
        rig.side.setPolicy(policy)
        #expect(rig.states() == ["active": 1])
    }

    private func close(_ socket: consuming Socket) {}

    @Test func `what is said of listeners stays below what a peer takes, reports included`() throws
    {
        let rig = try Rig()
        defer { rig.close() }
        var frames = 0
        for round in 0..<5 as Range<UInt32> {
            for id in 0..<8_192 as Range<UInt32> {
                rig.advertise(round * 8_192 + id, loopback(Int(id) + 1, 0))
            }
            var writer = ByteWriter()
            while rig.side.writeControl(to: &writer, withWithdrawals: true) == .wrote {
                frames += 1
            }
        }
        // 40,960 reports were due; a peer takes 40,000 at once, ours and those on its listeners together.
        #expect((36_000...37_000).contains(frames), "\(frames)")
        #expect(rig.side.mirrors.reportBacklog > 0)
    }

    @Test func `what comes and goes within a turn binds nothing`() throws {
        let rig = try Rig()
        defer { rig.close() }
        for id in 0..<1_000 as Range<UInt32> {
            rig.advertise(id, loopback(1, 17_303))
            rig.withdraw(id)
        }
        rig.loop.runOnce()
        #expect(rig.side.ports().isEmpty)
        // Not by counting descriptors: other suites of this process have theirs.
        let free = try Socket.boundTCP(to: loopback(1, 17_303), isV6Only: false)
        try free.listenForConnections()
    }

    @Test func `thousands of addresses on one port cost a turn, not a minute`() throws {
        let rig = try Rig()
        defer { rig.close() }
        let took = processorTime {
            for id in 1...20_000 { rig.advertise(UInt32(id), loopback(id, 17_304)) }
            rig.loop.runOnce()
            for id in 1...20_000 { rig.withdraw(UInt32(id)) }
            rig.loop.runOnce()
        }
        // Several times slower with a sanitizer.
        let isSanitized = Posix.ThisProcess.environment("TWINPORT_SANITIZER") != nil
        #expect(took < .seconds(isSanitized ? 30 : 5))
        #expect(rig.side.counters.listenersDropped == 20_000 - 16_384)
        for id in 1...400 { rig.advertise(UInt32(30_000 + id), loopback(id, 17_304)) }
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 256, "limit": 144])
    }

    @Test func `a listener that found its port full is mirrored once others are gone`() throws {
        let rig = try Rig()
        defer { rig.close() }
        for id in 1...300 { rig.advertise(UInt32(id), loopback(id, 17_312)) }
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 256, "limit": 44])
        for id in 1...10 { rig.withdraw(UInt32(id)) }
        rig.side.mirrors.retry()
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 256, "limit": 34])
        let active = rig.side.ports().filter { $0.state == .active }.map { $0.listener }
        #expect(Set(active) == Set((11...266).map { loopback($0, 17_312) }), "the earliest first")
        for id in 11...300 { rig.withdraw(UInt32(id)) }
        rig.side.mirrors.retry()
        rig.loop.runOnce()
        #expect(rig.states().isEmpty)
    }

    /// The words in front of "is active" must never be too early: a client would be refused.
    @Test func `a mirror is never reported as active before it is bound`() throws {
        let rig = try Rig()
        defer { rig.close() }
        let holder = try Socket.boundTCP(to: loopback(1, 17_313), isV6Only: false)
        try holder.listenForConnections()
        rig.advertise(1, loopback(1, 17_313))
        rig.loop.runOnce()
        rig.side.mirrors.retry()
        rig.loop.runOnce()
        #expect(rig.states() == ["conflict": 1])
        #expect(!rig.log.lines.contains { $0.contains("active") }, "\(rig.log.lines)")
        _ = consume holder
        rig.side.mirrors.retry()
        rig.loop.runOnce()
        #expect(rig.states() == ["active": 1])
    }

    @Test
    func `listeners that come and go for ever leave nothing behind, though the peer never reads`()
        throws
    {
        let rig = try Rig()
        defer { rig.close() }
        for id in 0..<50_000 as Range<UInt32> {
            rig.advertise(id, Endpoint(.v4(IPv4Address(bits: 0x0a00_0001)), 80))
            rig.withdraw(id)
        }
        #expect(rig.side.ports().isEmpty)
        #expect(rig.side.mirrors.reportBacklog <= 64)
    }

    @Test func `log lines about the peer stop, and one says how many there were`() throws {
        let rig = try Rig()
        defer { rig.close() }
        for id in 0..<30_000 as Range<UInt32> {
            rig.advertise(id, Endpoint(.v4(IPv4Address(bits: 0x0a00_0001)), 80))
            rig.withdraw(id)
        }
        #expect((20_000..<21_000).contains(rig.log.lines.count))
        #expect(rig.side.counters.logLinesSuppressed >= 39_000)
    }

    @Test func `a limit is said once a minute, with how often it was reached`() {
        var limits = LimitLog()
        var counters = Counters()
        var said: [String] = []
        for second in 0..<180 as Range<UInt64> {
            counters.acceptPauses += 10
            said += limits.news(counters, now: second * 1_000).map { "\($0.name) \($0.times)" }
        }
        #expect(said == ["acceptPauses 10", "acceptPauses 600", "acceptPauses 600"])
    }
}

@Suite struct DatagramQueueModelTests {
    @Test func `queues drop and deliver as a slow model does, and share one budget`() throws {
        var generator = SeededGenerator()
        let budget = DatagramBudget()
        let buffer = IOBuffer(capacity: 70_000)
        for _ in 0..<40 {
            var queue = DatagramQueue(budget)
            var model: [[UInt8]] = []
            for number in 0..<600 {
                if Int.random(in: 0..<3, using: &generator) > 0 {
                    let size = [0, 1, 1_472, 9_216, 65_507].randomElement(using: &generator)!
                    let datagram = [UInt8](
                        repeating: UInt8(truncatingIfNeeded: number), count: size)
                    var dropped = 0
                    while model.count >= 64
                        || (!model.isEmpty
                            && model.reduce(0) { $0 + $1.count } + size > 262_144)
                    {
                        model.removeFirst()
                        dropped += 1
                    }
                    model.append(datagram)
                    let wasFull = queue.isFull
                    let got = queue.push(datagram.span)
                    #expect(got == dropped, "seed \(generator.seed)")
                    #expect(wasFull || got == 0)
                } else if !model.isEmpty {
                    let limit = Int.random(in: 0...65_507, using: &generator)
                    buffer.clear()
                    let count = queue.pop(into: buffer, limit: limit)
                    #expect(count == (model[0].count <= limit ? model[0].count : nil))
                    if count != nil {
                        let first = model.removeFirst()
                        buffer.withReadable { #expect([UInt8](copying: $0) == first) }
                    }
                }
                #expect(queue.isEmpty == model.isEmpty)
                #expect(queue.load.count == model.count && !(queue.isFull && queue.hasRoom))
                #expect(budget.bytes == model.reduce(0) { $0 + $1.count + 64 })
            }
            queue.removeAll()
            #expect(budget.bytes == 0 && queue.isEmpty)
        }
    }

    @Test func `empty queues keep no memory of their own, and not much together`() {
        let budget = DatagramBudget()
        let buffer = IOBuffer(capacity: 70_000)
        let datagram = [UInt8](repeating: 1, count: 1_400)
        var queues = (0..<200).map { _ in DatagramQueue(budget) }
        for index in queues.indices {
            for _ in 0..<40 { _ = queues[index].push(datagram.span) }
        }
        #expect(budget.spareBytes == 0)
        for index in queues.indices {
            while !queues[index].isEmpty {
                buffer.clear()
                _ = queues[index].pop(into: buffer, limit: 65_507)
            }
        }
        let kept = budget.spareBytes
        #expect(kept > 56_000 && kept <= DatagramBudget.mostSpare.bytes)
        // It is used again.
        _ = queues[7].push(datagram.span)
        #expect(budget.spareBytes < kept)
        queues[7].removeAll()
        #expect(budget.spareBytes == kept && budget.bytes == 0)
    }

    @Test func `all queues together hold 16 MiB; then newcomers are dropped`() {
        let budget = DatagramBudget()
        let datagram = [UInt8](repeating: 1, count: 65_507)
        var queues = (0..<400).map { _ in DatagramQueue(budget) }
        var dropped = 0
        for index in queues.indices {
            for _ in 0..<4 { dropped += queues[index].push(datagram.span) }
        }
        #expect(budget.bytes <= DatagramBudget.maxBytes && dropped == 1_600 - 255)
        queues[0].removeAll()
        let last = queues[399].push(datagram.span)
        #expect(last == 0)
    }
}

@Suite struct PendingBytesCostTests {
    @Test func `a window in frames of one byte costs time in proportion`() {
        func measure(_ count: Int) -> Duration {
            var pending = PendingBytes()
            let byte: [UInt8] = [1]
            return processorTime {
                for _ in 0..<count { pending.append(byte.span) }
            }
        }
        _ = measure(10_000)
        let (small, large) = (measure(100_000), measure(1_600_000))
        #expect(large < small * 160, "\(small) for 100,000, \(large) for 16 times as many")
    }
}
