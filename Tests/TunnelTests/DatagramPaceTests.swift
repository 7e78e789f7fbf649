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
