import Addresses
import TestSupport
import Testing

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
    .init(own: own, now: now, ephemeralPorts: 32_768...60_999, ephemeralAfter: after)
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
        #expect(known.endScan() == [1, 2])
        known.beginScan()
        #expect(known.endScan() == [1, 2])
        known.beginScan()
        #expect(known.endScan().isEmpty)
    }

    @Test func `own sockets that come and go between two scans leave nothing behind`() {
        let own = OwnSockets()
        var known = KnownSockets(own)
        for inode in 1...5 as ClosedRange<UInt64> { own.insert(inode) }
        known.beginScan()
        #expect(known.endScan() == [1, 2, 3, 4, 5])
        for inode in 100...100_000 as ClosedRange<UInt64> {
            own.insert(inode)
            own.remove(inode)
        }
        own.remove(1)
        #expect(own.backlog == 1)
        // The number of a socket that the watcher knows, as another one's.
        own.insert(1)
        known.beginScan()
        #expect(known.endScan() == [1, 2, 3, 4, 5])
        for inode in 2...5 as ClosedRange<UInt64> { own.remove(inode) }
        known.beginScan()
        #expect(known.endScan() == [1, 2, 3, 4, 5])
        known.beginScan()
        #expect(known.endScan() == [1])
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
            #expect(known.endScan().isSuperset(of: visible), "seed \(generator.seed)")
            for _ in 0..<Int.random(in: 0...9, using: &generator) { change(false) }
        }
    }
}

extension SocketRow {
    fileprivate var key: ListenerKey {
        ListenerKey(kind: kind, endpoint: endpoint, isV6Only: isV6Only == true)
    }
}
