import EventLoop
import Sockets
import Testing
import TwinportModel

@testable import Listeners

/// A system whose tables a test writes.
private final class FakeSource: ListenerSource {
    var hasChanged = true
    var tellsOfListen = false
    var looksElsewhere = false
    /// What the next readings see, in turn; nil: a failure. The last one stays.
    var readings: [[SocketRow]?] = [[]]
    var range: ClosedRange<Port>?
    private(set) var reused: [Bool] = []

    func rows(at now: Instant, reusingTCP: Bool) throws(ScanFailure) -> [SocketRow] {
        reused.append(reusingTCP)
        let reading = readings.count > 1 ? readings.removeFirst() : readings[0]
        guard let reading else { throw ScanFailure(what: "test") }
        return reading
    }
    func inspect(_ row: SocketRow, isServer: Bool, at now: Instant) -> Inspection? { Inspection() }
    func published(at now: Instant) -> [Listener]? { nil }
    var publishedState: String { "" }
    func canSucceed(_ bind: FailedBind) -> Bool { true }
    func ephemeralPorts() -> ClosedRange<Port>? { range }
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner] { [:] }
    func startHints(
        on loop: Loop, wake: @escaping () -> Void, closed: @escaping () -> Void
    ) {}
    func stopHints() {}
    func owner(ofProcess pid: Int32) -> SocketOwner { SocketOwner(pid: pid, command: "") }
    func takeEvents() -> (events: [SocketEvent], position: UInt64) { ([], 0) }
}

private func tcp(_ port: Port, _ inode: UInt64) -> SocketRow {
    SocketRow(
        kind: .tcp, endpoint: Endpoint(.anyV4, port), state: SocketRow.listening, uid: 0,
        inode: inode)
}

private func at(_ milliseconds: UInt64) -> Instant { Instant(milliseconds: milliseconds) }

/// Scans in a box: `#expect` cannot call what mutates a value.
private final class Scans {
    private var scans: ListenerScans

    init(_ source: FakeSource, _ own: OwnSockets) {
        scans = ListenerScans(source: source, own: own)
    }

    var mustCompare: Bool { scans.mustCompare }
    func compareNext() { scans.compareNext() }
    func refreshRange(_ now: UInt64) { scans.refreshRange(at: at(now)) }
    func look(_ now: UInt64, reusing: Bool = false) -> [ListenerChange]? {
        scans.scan(at: at(now), reusingTCP: reusing, ephemeralAfter: 2_000)
    }
}

@Suite struct ListenerScansTests {
    private let source = FakeSource()
    private let own = OwnSockets()

    @Test func `a listener that one reading misses is not lost`() {
        let scans = Scans(source, own)
        source.readings = [[tcp(80, 1)], [], [tcp(80, 1)]]
        #expect(scans.look(0)?.count == 1)
        #expect(scans.look(20, reusing: true) == [])
        // The second look reads everything.
        #expect(source.reused == [false, true, false])
        source.readings = [[]]
        #expect(scans.look(40)?.count == 1)
    }

    @Test func `a mirror that was closed is no listener in rows that are taken again`() {
        let scans = Scans(source, own)
        own.insert(1)
        source.readings = [[tcp(80, 1)]]
        #expect(scans.look(0) == [])
        own.remove(1)
        for now in [20, 40, 60] as [UInt64] { #expect(scans.look(now, reusing: true) == []) }
        // Nor after a reading that failed.
        source.readings = [nil, [tcp(80, 1)]]
        #expect(scans.look(80) == nil)
        #expect(scans.look(100, reusing: true) == [])
        // Once all was read it would be somebody else's.
        source.readings = [[]]
        #expect(scans.look(120) == [])
        source.readings = [[tcp(80, 1)]]
        #expect(scans.look(140)?.count == 1)
    }

    @Test func `a failed reading changes nothing, and the next one is compared`() {
        let scans = Scans(source, own)
        source.readings = [[tcp(80, 1)], nil, [tcp(81, 2)]]
        #expect(scans.look(0)?.count == 1)
        #expect(!scans.mustCompare)
        #expect(scans.look(20) == nil)
        #expect(scans.mustCompare)
        source.hasChanged = false
        #expect(scans.look(40)?.count == 2)
    }

    @Test func `tables as before are not compared, unless the rules or our own sockets changed`() {
        let scans = Scans(source, own)
        source.readings = [[tcp(80, 1)]]
        #expect(scans.look(0)?.count == 1)
        source.hasChanged = false
        #expect(scans.look(20) == nil)
        scans.compareNext()
        #expect(scans.look(40) == [])
        own.insert(1)
        #expect(scans.look(60)?.count == 1)
    }

    @Test func `the ephemeral range is read every 5 s, and a new one changes what counts`() {
        let scans = Scans(source, own)
        let row = SocketRow(
            kind: .udp, endpoint: Endpoint(.anyV4, 2_000), state: SocketRow.unconnected, uid: 0,
            inode: 1)
        source.readings = [[row]]
        source.range = 1_000...3_000
        scans.refreshRange(0)
        #expect(scans.look(0) == [])
        source.range = 10_000...20_000
        scans.refreshRange(4_999)
        source.hasChanged = false
        #expect(scans.look(1_999) == [])
        scans.refreshRange(5_000)
        #expect(scans.mustCompare)
        #expect(scans.look(1_999)?.count == 1)
    }
}
