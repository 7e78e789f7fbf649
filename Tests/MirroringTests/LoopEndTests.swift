import Testing
import TwinportModel
import Wire

@testable import Mirroring

/// A forwarder's loop was found, and the mirror closed: what brings it back.
@Suite struct LoopEndTests {
    private let place = "127.0.0.1:8000"

    /// Connections that each wait for the next one, until that is proof.
    private func prove(_ bench: Bench) {
        let entry = bench.table.all[0]
        var arrival = LoopArrival.pass
        for number in 0..<100 where arrival != .loop {
            bench.now += 20
            arrival = entry.loop.arrived(now: bench.now)
            if case .hold(let time) = arrival {
                bench.now += time
                entry.loop.released(now: bench.now)
            }
            let endpoint = Endpoint(place)!
            let flow = FlowInfo(
                id: UInt64(number), transport: .tcp, direction: .guestToHost, listener: endpoint,
                mirror: endpoint, client: endpoint, now: bench.now, traffic: entry.traffic)
            entry.loop.passed(flow, now: bench.now)
        }
        #expect(arrival == .loop)
        bench.settle()
    }

    private func say(_ bench: Bench, _ number: UInt32, owner: String) {
        bench.table.advertised(
            ListenerMessage(
                id: ListenerID(rawValue: number), kind: 1, isV6Only: false,
                endpoint: Endpoint(place)!, uid: 0, owner: owner, container: ""))
        bench.settle()
    }

    /// A table in which the listener, `1/ssh`, is in a loop.
    private func looped() -> Bench {
        let bench = Bench()
        say(bench, 1, owner: "1/ssh")
        #expect(bench.sockets.addresses == [place])
        prove(bench)
        #expect(bench.sockets.bound.isEmpty && bench.table.all[0].outcome.reason == .loop)
        return bench
    }

    @Test func `the mirror stays closed while the same process listens`() {
        let bench = looped()
        bench.now += 3_600_000
        bench.table.retry()
        say(bench, 1, owner: "1/ssh")
        // As after a new session, where numbers begin anew.
        say(bench, 5, owner: "1/ssh")
        #expect(bench.states == [place: "conflict"] && bench.sockets.bound.isEmpty)
    }

    @Test func `another process at the port is mirrored again`() {
        let bench = looped()
        say(bench, 1, owner: "2/nginx")
        #expect(bench.states == [place: "active"] && bench.sockets.addresses == [place])
    }

    @Test func `a new listener is mirrored again, and can be found in a loop again`() {
        let bench = looped()
        bench.table.withdrew(ListenerID(rawValue: 1))
        bench.settle()
        #expect(bench.table.all.isEmpty)
        say(bench, 2, owner: "1/ssh")
        #expect(bench.states == [place: "active"] && bench.sockets.addresses == [place])
        prove(bench)
        #expect(bench.states == [place: "conflict"] && bench.sockets.bound.isEmpty)
    }
}
