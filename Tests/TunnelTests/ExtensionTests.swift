import Testing
import TwinportModel
import Wire

@testable import Tunnel

/// Frames that a side sends only to a peer whose HELLO says that it understands them.
@Suite struct ExtensionTests {
    @Test func `MOVED and KEEPALIVE reach the side that opened, MOVED before the datagrams`() throws
    {
        let pair = Pair()
        pair.start()
        let udp = ScriptedFlow()
        _ = try #require(pair.host.open(udp, .udp))
        let (_, far) = try pair.connect(ScriptedFlow())
        let server = pair.guest.accepted[0]
        server.toSendDatagrams = [[7]]
        _ = server.stream?.markReady()
        #expect(server.stream?.move(to: 40_000) == true)
        pair.settle()
        #expect(udp.extensions == ["moved 40000"] && udp.datagrams == [[7]])
        _ = far.stream?.move(to: 1)
        pair.settle()
        // The guest broke a rule: MOVED on a TCP stream.
        #expect(pair.host.end?.code == .protocolError)
    }

    @Test func `an urgent byte keeps its place, and costs credit`() throws {
        let pair = Pair()
        pair.start()
        let flow = ScriptedFlow()
        flow.toSend = [1, 2, 3]
        let (stream, far) = try pair.connect(flow)
        flow.urgent = 9
        flow.toSend = [4]
        _ = stream.markReady()
        pair.settle()
        #expect(far.received == [1, 2, 3, 4] && far.extensions == ["urgent 9 at 3"])
        #expect(stream.credit.sent == 5)
        far.stream?.askKeepAlive(after: 7)
        pair.settle()
        #expect(flow.extensions == ["keep-alive 7"])
    }

    @Test func `nothing of it is sent to a peer that does not say that it understands`() {
        let victim = Victim()
        victim.hello { $0.optionalFeatures = 0 }
        victim.open(1, .udp)
        victim.open(2)
        let sent = victim.host.link.outgoing.count
        let streams = victim.host.accepted.map { $0.stream }
        #expect(streams[0]?.move(to: 40_000) == false)
        streams[1]?.askKeepAlive(after: 7)
        #expect(streams[1]?.peerUnderstands(.urgent) == false)
        victim.host.session.pump()
        #expect(victim.host.link.outgoing.count - sent < 30, "OPENED at most")
    }

    @Test func `URGENT past the credit resets the stream, and one of two bytes ends the session`() {
        let victim = Victim()
        victim.hello()
        victim.open(1)
        let stream = StreamID(slot: 1, generation: 0, isGuestOpened: true).rawValue
        victim.host.accepted[0].consumes = false
        for _ in 0..<4 { victim.data(stream, 8_192) }
        #expect(victim.host.accepted[0].endCode == nil)
        victim.frame(FrameType.urgent.rawValue, stream: stream, [1])
        #expect(victim.host.accepted[0].endCode == .violation && victim.verdict == nil)
        victim.open(2)
        let second = StreamID(slot: 2, generation: 0, isGuestOpened: true).rawValue
        victim.frame(FrameType.urgent.rawValue, stream: second, [1, 2])
        #expect(victim.verdict == .protocolError)
    }

    @Test func `a peer that opened a stream may not move it`() {
        let victim = Victim()
        victim.hello()
        victim.open(1, .udp)
        let stream = StreamID(slot: 1, generation: 0, isGuestOpened: true).rawValue
        victim.frame(FrameType.moved.rawValue, stream: stream, [0, 0x80])
        #expect(victim.verdict == .protocolError)
    }

    // MARK: KEEPALIVE and the end of a stream

    /// A host's stream to the guest that the test types.
    private func dial(_ victim: Victim) throws -> (flow: ScriptedFlow, stream: UInt32) {
        victim.hello()
        let flow = ScriptedFlow()
        let stream = try #require(victim.host.open(flow))
        victim.host.session.pump()
        return (flow, stream.id.rawValue)
    }

    private func keepAlive(_ victim: Victim, _ stream: UInt32) {
        victim.frame(FrameType.keepAlive.rawValue, stream: stream, [7, 0])
    }

    private func reset(_ victim: Victim, _ stream: UInt32) {
        victim.frame(FrameType.reset.rawValue, stream: stream, [1, 0])
    }

    @Test func `KEEPALIVE after its sender's FIN ends the session`() throws {
        let victim = Victim()
        let (flow, stream) = try dial(victim)
        keepAlive(victim, stream)
        victim.frame(FrameType.fin.rawValue, stream: stream)
        #expect(flow.extensions == ["keep-alive 7"] && flow.gotEnd && victim.verdict == nil)
        keepAlive(victim, stream)
        #expect(flow.extensions == ["keep-alive 7"] && victim.verdict == .protocolError)
    }

    @Test func `KEEPALIVE on a stream that is gone ends the session`() throws {
        let victim = Victim()
        let (flow, stream) = try dial(victim)
        reset(victim, stream)
        #expect(flow.endCode != nil && victim.verdict == nil)
        keepAlive(victim, stream)
        #expect(flow.extensions == [] && victim.verdict == .protocolError)
    }

    /// Its sender cannot know yet.
    @Test func `KEEPALIVE that crosses our RESET has no effect`() throws {
        let victim = Victim()
        let (flow, stream) = try dial(victim)
        flow.stream?.reset(.timedOut)
        victim.host.session.pump()
        keepAlive(victim, stream)
        #expect(flow.extensions == [] && victim.verdict == nil)
        reset(victim, stream)
        #expect(victim.verdict == nil && victim.host.session.streamCount == 0)
    }

    @Test func `KEEPALIVE and MOVED are not sent after the sender's end, nor beside its RESET`()
        throws
    {
        let pair = Pair()
        pair.start()
        let flow = ScriptedFlow()
        let (_, far) = try pair.connect(flow)
        // Asked for in the turn that sends FIN: it leaves before.
        far.endsAfterSending = true
        _ = far.stream?.markReady()
        far.stream?.askKeepAlive(after: 7)
        pair.settle()
        #expect(flow.gotEnd && flow.extensions == ["keep-alive 7"])
        far.stream?.askKeepAlive(after: 8)
        pair.settle()
        #expect(flow.extensions == ["keep-alive 7"] && pair.host.end == nil)

        let other = ScriptedFlow()
        let (_, reset) = try pair.connect(other)
        reset.stream?.askKeepAlive(after: 9)
        reset.stream?.reset(.timedOut)
        let udp = ScriptedFlow()
        _ = try #require(pair.host.open(udp, .udp))
        pair.settle()
        #expect(other.extensions == [] && other.endCode == .timedOut)
        let server = try #require(pair.guest.accepted.last)
        #expect(server.stream?.move(to: 40_000) == true)
        server.stream?.reset(.expired)
        pair.settle()
        #expect(udp.extensions == [] && udp.endCode == .expired && pair.host.end == nil)
    }
}
