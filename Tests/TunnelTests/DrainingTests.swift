import Testing
import Wire

@testable import Tunnel

/// What becomes of a stream that has both ends' last frame while its application has not taken all yet.
@Suite struct DrainingTests {
    /// A pair with one stream on which the guest sent `count` bytes and its FIN, and the host its own; the host's
    /// flow took nothing.
    private func drained(
        _ pair: Pair, _ count: Int = 20_000
    ) throws -> (flow: ScriptedFlow, stream: TunnelStream) {
        let flow = ScriptedFlow()
        flow.consumes = false
        flow.remembers = false
        flow.endsAfterSending = true
        let (stream, far) = try pair.connect(flow)
        far.toSend = [UInt8](repeating: 7, count: count)
        far.endsAfterSending = true
        _ = far.stream?.markReady()
        pair.settle()
        #expect(flow.gotEnd && flow.endCode == nil && stream.window.held == count)
        return (flow, stream)
    }

    @Test func `its number is free, and what is held counts until the application took it`() throws
    {
        let pair = Pair()
        pair.start()
        let (flow, stream) = try drained(pair)
        #expect(pair.host.session.streamCount == 0 && pair.guest.session.streamCount == 0)
        #expect(
            pair.host.session.heldBytes == 20_000 && pair.host.session.memory.budget.offered == 0)
        #expect(stream.markReady() == .closed)
        stream.consumed(5_000)
        #expect(pair.host.session.heldBytes == 15_000)
        stream.consumed(15_000)
        #expect(
            pair.host.session.memory.budget == ReceiveBudget()
                && pair.host.session.streams.draining.isEmpty)
        pair.settle()
        #expect(pair.host.end == nil && pair.guest.end == nil && flow.endCode == nil)
    }

    @Test func `the flow that gives up gives back what it held, and tells nobody`() throws {
        let pair = Pair()
        pair.start()
        let (_, stream) = try drained(pair)
        stream.reset(.reset)
        stream.reset(.reset)
        pair.settle()
        #expect(
            pair.host.session.memory.budget == ReceiveBudget()
                && pair.host.session.streams.draining.isEmpty)
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `it outlives its session, and may do anything then`() throws {
        var pair: Pair? = Pair()
        pair?.start()
        let (flow, stream) = try drained(try #require(pair))
        weak let session = pair?.host.session
        pair?.host.session.end(SessionEnd(.timeout, "gone"))
        #expect(flow.endCode == nil, "all of it is here")
        pair = nil
        #expect(session == nil)
        stream.consumed(10_000)
        #expect(stream.markReady() == .closed)
        stream.acceptOpen()
        stream.refuse(.other)
        stream.reset(.reset)
        stream.consumed(10_000)
        #expect(!stream.awaitsCredit)
    }

    @Test func `a stream that was open when its session ended may do anything, too`() throws {
        var pair: Pair? = Pair()
        pair?.start()
        let flow = ScriptedFlow()
        let stream = try #require(pair?.host.open(flow))
        pair?.settle()
        pair?.host.session.end(SessionEnd(.timeout, "gone"))
        #expect(flow.endCode == .tunnelLost)
        pair = nil
        #expect(stream.markReady() == .closed)
        stream.reset(.reset)
        stream.consumed(1)
    }

    @Test func `what drains counts against the budget: those that hold most are reset`() throws {
        let pair = Pair()
        pair.start()
        var flows: [ScriptedFlow] = []
        // 256 KiB each are offered while there is room for offers, as there always is: they come back.
        for index in 0..<100 { flows.append(try drained(pair, 250_000 - index).flow) }
        let reset = flows.count { $0.endCode == .limit }
        #expect(flows.map(\.endCode) == (0..<100).map { $0 < reset ? .limit : nil })
        #expect(pair.host.session.heldBytes <= ReceiveBudget.maxHeld)
        #expect((17...20).contains(reset) && pair.host.session.streamsOverBudget == reset)
        #expect(pair.host.end == nil)
    }

    @Test func `so many may drain at a time; then the one that has not read for longest is reset`()
        throws
    {
        let pair = Pair()
        pair.start()
        var flows: [(flow: ScriptedFlow, stream: TunnelStream)] = []
        pair.host.session.streams.maxDraining = 64
        for _ in 0..<64 {
            flows.append(try drained(pair, 2))
            pair.now += 1
        }
        #expect(pair.host.session.streams.draining.count == 64)
        // The first one goes on reading; so it is the second one that gives way.
        flows[0].stream.consumed(1)
        let last = try drained(pair, 1)
        #expect(flows.filter { $0.flow.endCode == .limit }.count == 1)
        #expect(flows[1].flow.endCode == .limit && last.flow.endCode == nil)
        #expect(pair.host.session.streams.draining.count == 64)
    }
}
