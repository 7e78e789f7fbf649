import Sockets
import Testing
import TwinportModel

@testable import Listeners

private func at(_ milliseconds: UInt64) -> Instant { Instant(milliseconds: milliseconds) }

@Suite struct SocketHistoryTests {
    @Test func `a scan is sure only of events that have taken effect`() {
        var history = SocketHistory()
        history.note([.listen], upTo: 40, at: at(100))
        #expect(history.settled(at: at(100)) == nil)
        #expect(history.settled(at: at(119)) == nil)
        #expect(history.settled(at: at(120)) == 40)
        // The same position again is no event.
        history.note([], upTo: 40, at: at(130))
        #expect(history.settled(at: at(130)) == 40)
    }

    @Test func `a bind that does not succeed is a wish, one that does is none`() {
        var history = SocketHistory()
        let wanted = Endpoint(.loopbackV4, 5_432)
        history.note(
            [
                .wanted(.tcp, wanted, process: 7, byRoot: true),
                .wanted(.udp, wanted, process: 8, byRoot: true),
                .bound(.udp, 5_432, kernelChose: false),
            ], upTo: 80, at: at(0))
        #expect(history.isWaiting)
        #expect(history.failedBinds(at: at(4)).isEmpty)
        #expect(
            history.failedBinds(at: at(5)) == [
                FailedBind(kind: .tcp, endpoint: wanted, process: 7, byRoot: true)
            ])
        #expect(!history.isWaiting)
        #expect(history.failedBinds(at: at(60)).isEmpty)
    }

    @Test func `sockets that are gone are forgotten, and keep what they were until then`() {
        var origins = UDPOrigins()
        origins.isTold = true
        origins.scanned(at: at(0), present: [])
        _ = origins.note([.bound(.udp, 40_000, kernelChose: true)], at: at(1))
        func origin(_ inode: UInt64) -> UDPOrigins.Origin {
            origins.origin(ofInode: inode, at: 40_000, firstSeen: at(1))
        }
        #expect(origin(1) == .chosen)
        // Others bind the same port on other addresses, by number, again and again.
        for round in 1...200 as ClosedRange<UInt64> {
            for other in 1...20 as ClosedRange<UInt64> {
                _ = origins.note([.bound(.udp, 40_000, kernelChose: false)], at: at(round))
                _ = origin(round * 100 + other)
            }
            origins.scanned(at: at(round), present: [1])
        }
        #expect(origin(1) == .chosen && origins.remembered <= 3)
        _ = origins.note([.sent(40_000)], at: at(300))
        #expect(origin(1) == .client)
        origins.scanned(at: at(2_000), present: [])
        #expect(origins.remembered == 0)
    }

    @Test func `however many binds fail, few are remembered`() {
        var history = SocketHistory()
        let events = (1...10_000).map {
            SocketEvent.wanted(
                .tcp, Endpoint(.loopbackV4, Port($0)), process: Int32($0), byRoot: false)
        }
        history.note(events, upTo: 1, at: at(0))
        #expect(history.failedBinds(at: at(10)).count == 256)
    }
}

/// Which UDP sockets on ephemeral ports are listeners, and how far their mirrors reach.
@Suite struct EphemeralTests {
    private final class Rig {
        private var tracker = ListenerTracker()
        var now: UInt64 = 0

        init(isTold: Bool = true) { tracker.origins.isTold = isTold }

        func told(_ events: SocketEvent...) { _ = tracker.origins.note(events, at: at(now)) }

        /// The listener on a port after a scan: nil, or whether it is for loopback only.
        func scan(_ port: Port = 40_000, inode: UInt64? = 1, isAsked: Bool = false) -> Bool? {
            let rows = inode.map {
                [
                    SocketRow(
                        kind: .udp, endpoint: Endpoint(.anyV4, port),
                        state: SocketRow.unconnected, uid: 0, inode: $0)
                ]
            }
            let context = ListenerTracker.Context(
                own: [], now: at(now), ephemeralPorts: 32_768...60_999, ephemeralAfter: 2_000,
                isAsked: isAsked)
            _ = tracker.update(rows ?? [], context)
            return tracker.known.values.first?.isLoopbackOnly
        }
    }

    @Test func `a port that was asked for is a server's at once, and reaches as far as any`() {
        let rig = Rig()
        #expect(rig.scan(inode: nil) == nil)
        rig.now = 100
        rig.told(.bound(.udp, 40_000, kernelChose: false))
        #expect(rig.scan() == false)
    }

    @Test func `a port that the kernel chose: within 20 ms, at once when bytes wait, on loopback`()
    {
        let rig = Rig()
        _ = rig.scan(inode: nil)
        rig.now = 100
        rig.told(.bound(.udp, 40_000, kernelChose: true))
        #expect(rig.scan() == nil)
        #expect(rig.scan(isAsked: true) == true)
        let other = Rig()
        _ = other.scan(inode: nil)
        other.now = 100
        other.told(.bound(.udp, 40_000, kernelChose: true))
        #expect(other.scan() == nil)
        other.now = 119
        #expect(other.scan() == nil)
        other.now = 120
        #expect(other.scan() == true)
        // It answers, and stays a listener.
        other.told(.sent(40_000))
        #expect(other.scan() == true)
    }

    @Test func `who sends first is a client, and so is a socket that never asked for a port`() {
        for events in [[SocketEvent.bound(.udp, 40_000, kernelChose: true), .sent(40_000)], []] {
            let rig = Rig()
            _ = rig.scan(inode: nil)
            rig.now = 100
            for event in events { rig.told(event) }
            #expect(rig.scan(isAsked: true) == nil)
            rig.now = 2_099
            #expect(rig.scan(isAsked: true) == nil)
            rig.now = 2_100
            #expect(rig.scan() == true)
        }
    }

    @Test func `what is older than the account, or than a gap in it, may be a server`() {
        let rig = Rig()
        #expect(rig.scan() == nil)
        rig.now = 2_000
        #expect(rig.scan() == false)
        let other = Rig()
        _ = other.scan(inode: nil)
        other.now = 100
        other.told(.bound(.udp, 40_000, kernelChose: true), .lost)
        #expect(other.scan() == nil)
        other.now = 2_100
        #expect(other.scan() == false)
    }

    @Test func `a client on a port that a server asked for before is no server`() {
        let rig = Rig()
        _ = rig.scan(inode: nil)
        rig.now = 100
        rig.told(.bound(.udp, 40_000, kernelChose: false))
        #expect(rig.scan(inode: 1) == false)
        rig.now = 200
        #expect(rig.scan(inode: 2) == nil)
        rig.now = 2_200
        #expect(rig.scan(inode: 2) == true)
    }
}

/// A UDP server that connects its socket to its first client, and binds another one beside it for a moment.
@Suite struct ConnectingServerTests {
    private func row(_ inode: UInt64, isConnected: Bool) -> SocketRow {
        SocketRow(
            kind: .udp, endpoint: Endpoint(.loopbackV4, 5_201),
            state: isConnected ? 1 : SocketRow.unconnected, uid: 0, inode: inode)
    }

    @Test func `its listener lives for as long as any of its sockets`() {
        var tracker = ListenerTracker()
        func scan(_ rows: [SocketRow]) -> [ListenerChange] {
            let context = ListenerTracker.Context(
                own: [], now: at(0), ephemeralPorts: 32_768...60_999, ephemeralAfter: 2_000)
            return tracker.update(rows, context)
        }
        #expect(scan([row(1, isConnected: false)]).count == 1)
        #expect(scan([row(1, isConnected: true), row(2, isConnected: false)]).isEmpty)
        #expect(scan([row(1, isConnected: true)]).isEmpty)
        #expect(tracker.known.count == 1)
        #expect(scan([]).count == 1)
        // A client's connected socket is no listener's.
        #expect(scan([row(3, isConnected: true)]).isEmpty)
    }
}
