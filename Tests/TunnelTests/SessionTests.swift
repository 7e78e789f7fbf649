import TestSupport
import Testing
import Tunnel
import TwinportModel
import Wire

@Suite struct SessionTests {
    private let bulk = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    private func pair() -> Pair {
        let pair = Pair()
        pair.start()
        return pair
    }

    @Test func `both sides greet and learn who is there`() {
        let pair = pair()
        #expect(pair.host.greeted?.role == .guest)
        #expect(pair.guest.greeted?.role == .host)
    }

    @Test func `bytes cross both ways, then each end closes, and the slots are free again`() throws
    {
        let pair = pair()
        let client = ScriptedFlow()
        client.toSend = bulk
        client.endsAfterSending = true
        let server = try pair.connect(client).far
        #expect(client.wasOpened)
        #expect(server.received == bulk)
        #expect(server.gotEnd)
        // Half-close: the other direction goes on.
        server.toSend = Array(bulk.prefix(700_000))
        server.endsAfterSending = true
        _ = server.stream?.markReady()
        pair.settle()
        #expect(client.received == Array(bulk.prefix(700_000)))
        #expect(client.gotEnd)
        #expect(pair.host.session.streamCount == 0 && pair.guest.session.streamCount == 0)
    }

    @Test func `delivery in single bytes makes no difference`() throws {
        let pair = Pair()
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle(step: 1)
        let client = ScriptedFlow()
        client.toSend = Array(bulk.prefix(10_000))
        _ = try #require(pair.guest.open(client)).markReady()
        pair.settle(step: 1)
        #expect(pair.host.accepted.first?.received == Array(bulk.prefix(10_000)))
    }

    @Test func `a flow that does not drain stops at its window and delays nobody`() throws {
        let pair = pair()
        let stuck = ScriptedFlow()
        stuck.toSend = bulk
        pair.guest.onOpen = { [unowned pair] stream, flow in
            flow.consumes = pair.guest.accepted.count > 1
            stream.acceptOpen()
        }
        _ = try pair.connect(stuck)
        #expect(pair.guest.accepted[0].received.count == 32_768)
        let other = ScriptedFlow()
        other.toSend = bulk
        _ = try pair.connect(other)
        #expect(pair.guest.accepted[1].received == bulk)
        // Credit comes late: it goes on where it stopped.
        pair.guest.accepted[0].consumes = true
        pair.guest.accepted[0].stream?.consumed(32_768)
        pair.settle()
        #expect(pair.guest.accepted[0].received == bulk)
    }

    @Test func `a reset reaches the other end and frees both slots`() throws {
        let pair = pair()
        let client = ScriptedFlow()
        let stream = try #require(pair.host.open(client))
        pair.settle()
        stream.reset(.reset)
        pair.settle()
        #expect(pair.guest.accepted.first?.endCode == .reset)
        #expect(pair.host.session.streamCount == 0 && pair.guest.session.streamCount == 0)
    }

    @Test func `resets that cross free both slots`() throws {
        let pair = pair()
        let stream = try #require(pair.host.open(ScriptedFlow()))
        pair.settle()
        stream.reset(.reset)
        pair.guest.accepted[0].stream?.reset(.reset)
        pair.settle()
        #expect(pair.host.session.streamCount == 0 && pair.guest.session.streamCount == 0)
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `a refused dial ends the client with the reason`() throws {
        let pair = pair()
        pair.guest.onOpen = { stream, _ in stream.refuse(.refused) }
        let client = ScriptedFlow()
        client.toSend = [1, 2, 3]
        _ = try #require(pair.host.open(client)).markReady()
        pair.settle()
        #expect(client.endCode == .refused)
        #expect(pair.host.session.streamCount == 0 && pair.guest.session.streamCount == 0)
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `datagrams keep their boundaries, empty and largest included`() throws {
        let pair = pair()
        let client = ScriptedFlow()
        client.toSendDatagrams = [[], [7], Array(bulk.prefix(1_472)), Array(bulk.prefix(65_507))]
        let expected = client.toSendDatagrams
        _ = try #require(pair.host.open(client, .udp)).markReady()
        pair.settle()
        #expect(pair.guest.accepted.first?.datagrams == expected)
    }

    @Test func `a thousand streams in random order arrive whole`() throws {
        var generator = SeededGenerator()
        let pair = pair()
        var sent: [(ScriptedFlow, [UInt8])] = []
        for _ in 0..<1_000 {
            let flow = ScriptedFlow()
            flow.toSend = generator.bytes(.random(in: 1...3_000, using: &generator))
            flow.endsAfterSending = true
            let end: End = Bool.random(using: &generator) ? pair.host : pair.guest
            let bytes = flow.toSend
            _ = try #require(end.open(flow)).markReady()
            if end === pair.host { sent.append((flow, bytes)) }
            if Bool.random(using: &generator) {
                pair.settle(step: .random(in: 1...9_000, using: &generator))
            }
        }
        pair.settle()
        #expect(pair.guest.accepted.map(\.received) == sent.map(\.1), "seed \(generator.seed)")
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `losing the link ends every stream with tunnelLost, never with an end of data`()
        throws
    {
        let pair = pair()
        let client = ScriptedFlow()
        _ = try #require(pair.host.open(client))
        pair.settle()
        pair.host.link.isPeerClosed = true
        pair.host.session.linkReadable()
        #expect(client.endCode == .tunnelLost && !client.gotEnd)
        #expect(pair.host.end != nil)
    }

    @Test func `silence is answered with PING after 5 s and ends the session after 15 s`() {
        let pair = pair()
        for _ in 0..<16 {
            pair.now += 1_000
            pair.host.session.tick()
        }
        #expect(pair.host.end?.code == .timeout)
    }

    @Test func `a peer that answers PING stays, for hours`() {
        let pair = pair()
        for _ in 0..<10_000 {
            pair.now += 1_000
            pair.host.session.tick()
            pair.guest.session.tick()
            pair.settle()
        }
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `a gap in our own clock is not the peer's silence`() {
        let pair = pair()
        pair.now += 60_000
        pair.host.session.tick()
        #expect(pair.host.end == nil)
    }

    @Test func `no HELLO within five seconds ends the attempt`() {
        let pair = Pair()
        pair.host.session.start()
        for _ in 0..<5 {
            pair.now += 1_000
            pair.host.session.tick()
        }
        #expect(pair.host.end?.code == .timeout)
    }

    @Test func `two hosts do not talk to each other`() {
        let pair = Pair()
        pair.host.session.start()
        var writer = ByteWriter()
        Hello(role: .host, instance: 1, epoch: 1, os: "", kernel: "", hostname: "", program: "")
            .write(to: &writer)
        pair.host.link.incoming = writer.bytes
        pair.host.session.linkReadable()
        #expect(pair.host.end?.code == .notAllowed)
    }

    @Test func `OPENED leaves with the answer, or at the next tick, and wakes nobody by itself`() {
        let pair = Pair()
        pair.start()
        let first = ScriptedFlow()
        let second = ScriptedFlow()
        _ = pair.host.open(first)
        _ = pair.host.open(second)
        pair.settle()
        #expect(pair.guest.accepted.count == 2 && pair.guest.link.outgoing.isEmpty)
        #expect(!first.wasOpened && !second.wasOpened)
        pair.guest.accepted[0].toSend = [7]
        _ = pair.guest.accepted[0].stream?.markReady()
        pair.settle()
        #expect(first.wasOpened && first.received == [7])
        #expect(second.wasOpened)
        let third = ScriptedFlow()
        _ = pair.host.open(third)
        pair.settle()
        #expect(!third.wasOpened)
        pair.guest.session.tick()
        pair.settle()
        #expect(third.wasOpened)
    }
}
