import Testing
import TwinportModel
import Wire

@testable import Tunnel

@Suite struct DatagramPaceTests {
    /// A pair whose host has a UDP flow with more datagrams than any window, and what the host has sent of them when
    /// nothing of the guest's arrived meanwhile.
    private func flood(_ pair: Pair) throws -> (ScriptedFlow, TunnelStream) {
        let flow = ScriptedFlow()
        let stream = try #require(pair.host.open(flow, .udp))
        pair.settle()
        flow.toSendDatagrams = Array(repeating: [7], count: 5_000)
        return (flow, stream)
    }

    /// How many datagrams left while the guest does not answer.
    private func leaveUnanswered(_ pair: Pair, _ flow: ScriptedFlow, _ stream: TunnelStream) -> Int
    {
        let before = flow.toSendDatagrams.count
        _ = stream.markReady()
        for _ in 0..<2_000 { pair.host.session.pump() }
        return before - flow.toSendDatagrams.count
    }

    @Test func `no more datagrams leave than the peer may have to take, and all leave in the end`()
        throws
    {
        let pair = Pair()
        pair.start()
        let (flow, stream) = try flood(pair)
        #expect(leaveUnanswered(pair, flow, stream) == Int(DatagramPace.wide))
        pair.settle()
        #expect(flow.toSendDatagrams.isEmpty)
        #expect(pair.guest.accepted.last?.datagrams.count == 5_000)
        #expect(pair.host.end == nil && pair.guest.end == nil)
    }

    @Test func `beside bytes of a stream there are few, and the bytes go first`() throws {
        let pair = Pair()
        pair.start()
        let echo = ScriptedFlow()
        let (other, far) = try pair.connect(echo)
        let (flow, stream) = try flood(pair)
        echo.toSend = [1]
        _ = other.markReady()
        pair.settle()
        #expect(leaveUnanswered(pair, flow, stream) == Int(DatagramPace.narrow))
        // The window is used up; a byte leaves all the same.
        echo.toSend = [2]
        _ = other.markReady()
        pair.host.session.pump()
        #expect(echo.toSend.isEmpty)
        pair.settle()
        #expect(far.received == [1, 2])
        #expect(flow.toSendDatagrams.isEmpty)
    }

    @Test func `a peer that does not know TAKEN is sent all, and none of it`() throws {
        let victim = Victim()
        victim.hello { $0.optionalFeatures = 0 }
        let flow = ScriptedFlow()
        let stream = try #require(victim.host.open(flow, .udp))
        flow.toSendDatagrams = Array(repeating: [7], count: 5_000)
        _ = stream.markReady()
        for _ in 0..<100 { victim.host.session.pump() }
        #expect(flow.toSendDatagrams.isEmpty)
        let first = StreamID(slot: 1, generation: 0, isGuestOpened: true).rawValue
        victim.open(1, .udp)
        let sent = victim.host.link.outgoing.count
        for _ in 0..<100 { victim.frame(FrameType.datagram.rawValue, stream: first) }
        #expect(victim.host.link.outgoing.count == sent)
    }

    @Test func `a narrow window goes round: one busy flow does not keep another from it`() throws {
        let victim = Victim()
        victim.hello()
        let tcp = try #require(victim.host.open(ScriptedFlow()))
        victim.host.session.pump()
        victim.data(tcp.id.rawValue, 1)
        let flows = try (0..<2).map { _ in
            let flow = ScriptedFlow()
            let stream = try #require(victim.host.open(flow, .udp))
            flow.toSendDatagrams = Array(repeating: [7], count: 400)
            _ = stream.markReady()
            return flow
        }
        victim.host.session.pump()
        for turn in 1...20 as ClosedRange<UInt64> {
            victim.send { Frames.writeNumber(.taken, DatagramPace.step * turn, to: &$0) }
        }
        let sent = flows.map { 400 - $0.toSendDatagrams.count }
        #expect(sent.reduce(0, +) == Int(DatagramPace.narrow + 20 * DatagramPace.step))
        #expect(sent.allSatisfy { $0 > 100 }, "\(sent)")
    }

    @Test(arguments: [(1, 32), (20_000, 4), (60_000, 2)])
    func `a flow's turn is 32 datagrams, or those with which it reaches 64 KiB`(
        size: Int, most: Int
    ) throws {
        let victim = Victim()
        victim.hello()
        let flows = try (0..<2).map { _ in
            let flow = ScriptedFlow()
            let stream = try #require(victim.host.open(flow, .udp))
            flow.toSendDatagrams = Array(repeating: Array(repeating: 7, count: size), count: 40)
            _ = stream.markReady()
            return (flow, stream.id.rawValue)
        }
        victim.host.session.pump()
        var decoder = FrameDecoder()
        var position = 0
        var order: [UInt32] = []
        let bytes = victim.host.link.outgoing
        while case .frame(let header, _) = try decoder.next(in: bytes.span, from: &position) {
            if header.type == .datagram { order.append(header.stream) }
        }
        let first = order.prefix { $0 == flows[0].1 }.count
        #expect(first == most)
        #expect(order.dropFirst(first).prefix { $0 == flows[1].1 }.count == most)
    }

    @Test func `a number that cannot be true, or says nothing new, lets nothing go`() {
        var pace = DatagramPace()
        pace.isOn = true
        for _ in 0..<DatagramPace.wide { pace.sentOne() }
        #expect(!pace.isOpen)
        for number in [0, DatagramPace.wide + 1, .max] {
            let isNews = pace.took(number)
            #expect(!isNews && !pace.isOpen)
        }
        let isNews = pace.took(DatagramPace.step)
        let isAgain = pace.took(DatagramPace.step)
        #expect(isNews && !isAgain && pace.isOpen)
    }
}
