import TestSupport
import Testing
import TwinportModel

@testable import Listeners

private func row(
    _ kind: SocketKind, _ endpoint: String, _ inode: UInt64, state: UInt8? = nil,
    v6Only: Bool? = nil
) -> SocketRow {
    SocketRow(
        kind: kind, endpoint: Endpoint(endpoint)!,
        state: state ?? (kind == .udp ? SocketRow.unconnected : SocketRow.listening), uid: 0,
        inode: inode, isV6Only: v6Only)
}

private func context(_ now: UInt64 = 0, own: Set<UInt64> = [], after: UInt64? = 2_000)
    -> ListenerTracker.Context
{
    .init(
        own: own, now: Instant(milliseconds: now), ephemeralPorts: 32_768...60_999,
        ephemeralAfter: after)
}

extension ListenerTracker {
    /// Takes over rows without a second look.
    mutating func update(_ rows: [SocketRow], _ context: Context) -> [ListenerChange] {
        update(sightings(rows, context))
    }
}

@Suite struct ListenerTrackerTests {
    @Test func `rows bound alike are one listener, gone with the last`() {
        var tracker = ListenerTracker()
        let both = [row(.tcp, "0.0.0.0:80", 1), row(.tcp, "0.0.0.0:80", 2)]
        #expect(tracker.update(both, context()).count == 1)
        #expect(tracker.update([both[0]], context()).isEmpty)
        #expect(tracker.update([], context()) == [.vanished(both[0].key)])
    }

    @Test func `closed and opened again between two scans is an update`() {
        var tracker = ListenerTracker()
        _ = tracker.update([row(.tcp, "0.0.0.0:80", 1)], context())
        guard
            case .updated(let listener)? = tracker.update([row(.tcp, "0.0.0.0:80", 9)], context())
                .first
        else {
            Issue.record("no update")
            return
        }
        #expect(listener.inode == 9)
    }

    @Test(arguments: [false, true])
    func `beside a program's socket, a foreign mirror bound alike does not count`(isFirst: Bool) {
        let program = row(.udp, "0.0.0.0:7400", 1)
        var mirror = row(.udp, "0.0.0.0:7400", 2)
        mirror.isMirror = true
        var tracker = ListenerTracker()
        let both = isFirst ? [mirror, program] : [program, mirror]
        func seen(_ rows: [SocketRow]) -> Listener? {
            _ = tracker.update(rows, context())
            return tracker.known[program.key]
        }
        #expect(seen([mirror])?.isMirror == true)
        #expect(seen(both) == Listener(key: program.key, uid: 0, inode: 1))
        #expect(seen([mirror]) == Listener(key: program.key, uid: 0, inode: 2, isMirror: true))
    }

    @Test(arguments: [nil, false, true] as [Bool?], ["twinport", "twinport-agent", "nginx"])
    func `a process's name tells a mirror only where no table does`(mark: Bool?, command: String) {
        var tracker = ListenerTracker()
        var socket = row(.tcp, "127.0.0.1:80", 1)
        socket.isMirror = mark
        _ = tracker.update([socket], context())
        #expect(tracker.known[socket.key]?.isMirror == (mark == true))
        let owner = SocketOwner(pid: 7, command: command)
        let isMirror = mark ?? (command != "nginx")
        #expect(tracker.learn(owner, ofInode: 1, at: socket.key)?.isMirror == isMirror)
        // It stays so while the socket is the same, and is forgotten with it.
        #expect(tracker.update([socket], context()).isEmpty)
        socket.inode = 2
        _ = tracker.update([socket], context())
        #expect(tracker.known[socket.key]?.isMirror == (mark == true))
    }

    @Test func `our own sockets are not listeners, on any port`() {
        var tracker = ListenerTracker()
        let rows = [row(.tcp, "0.0.0.0:80", 1), row(.udp, "0.0.0.0:80", 2)]
        #expect(tracker.update(rows, context(own: [1])).count == 1)
        #expect(tracker.known.keys.first?.kind == .udp)
    }

    @Test func `ephemeral UDP waits, others do not, and never means never`() {
        var tracker = ListenerTracker()
        let rows = [row(.udp, "0.0.0.0:40000", 1), row(.udp, "0.0.0.0:53", 2)]
        #expect(tracker.update(rows, context(0)).count == 1)
        #expect(tracker.isWaiting)
        #expect(tracker.update(rows, context(1_999)).isEmpty)
        #expect(tracker.update(rows, context(2_000)).count == 1)
        var never = ListenerTracker()
        #expect(never.update(rows, context(1_000_000, after: nil)).count == 1)
        var atOnce = ListenerTracker()
        #expect(atOnce.update(rows, context(0, after: 0)).count == 2)
    }

    @Test func `a listener that connects stays; a client that was never one does not come`() {
        var tracker = ListenerTracker()
        _ = tracker.update([row(.udp, "0.0.0.0:53", 2)], context())
        let connected = row(.udp, "127.0.0.1:53", 2, state: 1)
        #expect(tracker.update([connected], context()).isEmpty)
        #expect(
            tracker.update([connected, row(.udp, "127.0.0.1:99", 5, state: 1)], context()).isEmpty)
        #expect(tracker.update([], context()).count == 1)
    }

    @Test func `a wildcard on the loopback device is a listener of loopback`() {
        func keys(_ row: SocketRow) -> Set<String> {
            var tracker = ListenerTracker()
            var context = context()
            context.inspect = { _, _ in Inspection(isOnLoopbackDevice: true) }
            _ = tracker.update([row], context)
            return Set(tracker.known.keys.map(\.endpoint.description))
        }
        #expect(keys(row(.tcp, "0.0.0.0:80", 1)) == ["127.0.0.1:80"])
        #expect(keys(row(.tcp, "[::]:80", 1, v6Only: false)) == ["127.0.0.1:80", "[::1]:80"])
        #expect(keys(row(.tcp, "[::]:80", 1, v6Only: true)) == ["[::1]:80"])
        #expect(keys(row(.udp, "127.0.0.2:80", 1)) == ["127.0.0.2:80"])
    }

    @Test func `what is not known yet waits, and asks for another scan`() {
        var tracker = ListenerTracker()
        var context = context()
        context.inspect = { row, _ in row.inode == 2 ? nil : Inspection() }
        let rows = [row(.udp, "0.0.0.0:80", 1), row(.udp, "0.0.0.0:81", 2)]
        #expect(tracker.update(rows, context).count == 1 && tracker.isWaiting)
        context.inspect = { _, _ in Inspection(traits: .init(obstacle: .kernelSocket("vx0"))) }
        let later = tracker.update(rows, context)
        #expect(!tracker.isWaiting && later.count == 2)
        #expect(tracker.known.values.allSatisfy { $0.traits.obstacle == .kernelSocket("vx0") })
    }

    @Test func `of two sockets alike the one that can be mirrored counts, whichever comes first`() {
        let rows = [row(.tcp, "0.0.0.0:80", 1), row(.tcp, "0.0.0.0:80", 2)]
        for order in [rows, rows.reversed()] {
            var tracker = ListenerTracker()
            var context = context()
            context.inspect = { row, _ in
                Inspection(traits: .init(obstacle: row.inode == 1 ? .otherNamespace : nil))
            }
            _ = tracker.update(order, context)
            let listener = tracker.known.values.first
            #expect(listener?.inode == 2 && listener?.traits == SocketTraits())
            // The real one goes: what is left is another kind of thing, not another address.
            let change = tracker.update([rows[0]], context)
            guard case .updated(let rest)? = change.first, change.count == 1 else {
                Issue.record("\(change)")
                return
            }
            #expect(rest.inode == 1 && rest.traits.obstacle == .otherNamespace)
        }
    }

    @Test func `bound, then listening: the owner stays, the obstacle goes`() {
        var tracker = ListenerTracker()
        var context = context()
        context.inspect = { row, _ in
            Inspection(
                traits: .init(
                    obstacle: row.state == SocketRow.boundInactive ? .notListening : nil))
        }
        let bound = row(.tcp, "0.0.0.0:80", 1, state: SocketRow.boundInactive)
        _ = tracker.update([bound], context)
        let owner = SocketOwner(pid: 7, command: "x")
        _ = tracker.learn(owner, ofInode: 1, at: bound.key)
        let listening = row(.tcp, "0.0.0.0:80", 1)
        // For up to a second the older reading is there, too.
        guard case .updated(let listener)? = tracker.update([listening, bound], context).first
        else {
            Issue.record("no update")
            return
        }
        #expect(listener.traits == SocketTraits() && listener.owner == owner)
        #expect(tracker.update([listening], context).isEmpty)
    }

    @Test func `the differences of random scans always add up to what is there`() {
        var generator = SeededGenerator()
        var tracker = ListenerTracker()
        var model: Set<ListenerKey> = []
        let all =
            (1...12).map { row(.tcp, "127.0.0.1:\($0 % 7 + 1)", UInt64($0)) }
            + [row(.tcp, "[::]:5", 50, v6Only: true), row(.tcp, "[::]:5", 51, v6Only: false)]
        for _ in 0..<2_000 {
            let rows = all.filter { _ in Bool.random(using: &generator) }
            let own = Set(
                rows.map(\.inode).filter { _ in Int.random(in: 0...5, using: &generator) == 0 })
            for change in tracker.update(rows, context(own: own)) {
                switch change {
                case .appeared(let listener): #expect(model.insert(listener.key).inserted)
                case .vanished(let key): #expect(model.remove(key) != nil)
                case .updated(let listener): #expect(model.contains(listener.key))
                }
            }
            let expected = Set(rows.filter { !own.contains($0.inode) }.map(\.key))
            #expect(model == expected, "seed \(generator.seed)")
        }
    }

    @Test func `own sockets removed during a scan are still known at its end`() {
        let own = OwnSockets()
        own.insert(1)
        var known = KnownSockets(own)
        known.beginScan()
        own.insert(2)
        own.remove(1)
        own.remove(2)
        #expect(known.endScan(readAll: true) == [1, 2])
        known.beginScan()
        #expect(known.endScan(readAll: true) == [1, 2])
        known.beginScan()
        #expect(known.endScan(readAll: true).isEmpty)
    }

    @Test func `own sockets that come and go between two scans leave nothing behind`() {
        let own = OwnSockets()
        var known = KnownSockets(own)
        for inode in 1...5 as ClosedRange<UInt64> { own.insert(inode) }
        known.beginScan()
        #expect(known.endScan(readAll: true) == [1, 2, 3, 4, 5])
        for inode in 100...100_000 as ClosedRange<UInt64> {
            own.insert(inode)
            own.remove(inode)
        }
        own.remove(1)
        #expect(own.backlog == 1)
        // The number of a socket that the watcher knows, as another one's.
        own.insert(1)
        known.beginScan()
        #expect(known.endScan(readAll: true) == [1, 2, 3, 4, 5])
        for inode in 2...5 as ClosedRange<UInt64> { own.remove(inode) }
        known.beginScan()
        #expect(known.endScan(readAll: true) == [1, 2, 3, 4, 5])
        known.beginScan()
        #expect(known.endScan(readAll: true) == [1])
    }

    @Test func `own sockets are those of a plain model, whenever scans begin and end`() {
        var generator = SeededGenerator()
        let own = OwnSockets()
        var known = KnownSockets(own)
        var (live, next) = (Set<UInt64>(), UInt64(1))
        for _ in 0..<500 {
            // What a scan can see: everything open at any time while it runs.
            var visible = live
            known.beginScan()
            func change(_ isSeen: Bool) {
                if Bool.random(using: &generator) || live.isEmpty {
                    own.insert(next)
                    live.insert(next)
                    if isSeen { visible.insert(next) }
                    next += 1
                } else if let gone = live.randomElement(using: &generator) {
                    live.remove(gone)
                    own.remove(gone)
                }
            }
            for _ in 0..<Int.random(in: 0...9, using: &generator) { change(true) }
            #expect(known.endScan(readAll: true).isSuperset(of: visible), "seed \(generator.seed)")
            for _ in 0..<Int.random(in: 0...9, using: &generator) { change(false) }
        }
    }
}

extension SocketRow {
    fileprivate var key: ListenerKey {
        ListenerKey(kind: kind, endpoint: endpoint, isV6Only: isV6Only == true)
    }
}
