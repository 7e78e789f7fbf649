import Testing
import TwinportModel
import Wire

@testable import Tunnel

/// The receiver's half of "Order" in docs/protocol.md: mirrors stand before bytes that came behind their LISTENER are
/// handed on. What comes of it in sockets: MirroringTests/ReceiverOrderTests.
@Suite struct ListenerOrderTests {
    /// A host with a stream that its guest types on, and what happened in which order.
    private final class Rig {
        let victim = Victim()
        var trace: [String] = []
        private let flow = ScriptedFlow()
        let stream: UInt32

        init(_ transport: TransportProtocol) throws {
            victim.hello()
            stream = try #require(victim.host.open(flow, transport)).id.rawValue
            victim.host.session.pump()
            victim.host.onSettle = { [unowned self] in trace.append("settled after \(handedOn)") }
        }

        /// How many things of the stream were handed on.
        var handedOn: Int {
            flow.received.count + flow.datagrams.count + flow.extensions.count
                + (flow.gotEnd ? 1 : 0)
        }

        func listener(_ number: UInt32) {
            victim.send { Self.write(number, to: &$0) }
        }

        static func write(_ number: UInt32, to writer: inout ByteWriter) {
            ListenerMessage(
                id: ListenerID(rawValue: number), kind: 1, isV6Only: false,
                endpoint: Endpoint(.loopbackV4, 80), uid: 0, owner: "", container: ""
            ).write(to: &writer)
        }
    }

    @Test(arguments: [FrameType.data, .datagram, .fin, .urgent])
    func `mirrors are settled before bytes of a later read`(type: FrameType) throws {
        let rig = try Rig(type == .datagram ? .udp : .tcp)
        rig.listener(1)
        // Reads that hand nothing on do not settle, and do not forget.
        rig.victim.send { Frames.writeNumber(.ping, 1, to: &$0) }
        #expect(rig.trace == [])
        rig.victim.frame(type.rawValue, stream: rig.stream, type == .fin ? [] : [7])
        #expect(rig.trace == ["settled after 0"] && rig.handedOn == 1)
    }

    @Test func `LISTENER_GONE counts, MIRROR does not, and nothing is settled twice`() throws {
        let rig = try Rig(.tcp)
        rig.victim.data(rig.stream, 1)
        rig.victim.send {
            MirrorMessage(
                id: ListenerID(rawValue: 1), state: .active, reason: "", addresses: []
            ).write(to: &$0)
        }
        rig.victim.data(rig.stream, 1)
        #expect(rig.trace == [])
        rig.victim.send { Frames.writeGone(ListenerID(rawValue: 1), to: &$0) }
        rig.victim.data(rig.stream, 1)
        rig.victim.data(rig.stream, 1)
        #expect(rig.trace == ["settled after 2"] && rig.handedOn == 4)
    }

    /// What one read may cost is bounded; reads are not.
    @Test func `each read settles as often as it may, and the next one begins anew`() throws {
        let rig = try Rig(.tcp)
        for number in 1...200 as ClosedRange<UInt32> {
            rig.listener(number)
            rig.victim.data(rig.stream, 1)
        }
        #expect(rig.trace == (0..<200).map { "settled after \($0)" })
        rig.trace = []
        let stream = rig.stream
        let header = FrameHeader(rawType: FrameType.data.rawValue, length: 1, stream: stream).packed
        let data = (0..<8).map { UInt8(truncatingIfNeeded: header >> (8 * UInt64($0))) } + [1]
        var read: [UInt8] = []
        for number in 1...200 as ClosedRange<UInt32> {
            var writer = ByteWriter()
            Rig.write(1_000 + number, to: &writer)
            read += writer.bytes + data
        }
        rig.victim.send(read)
        #expect(rig.trace.count == 128 && rig.handedOn == 400)
        rig.victim.data(stream, 1)
        #expect(rig.trace.last == "settled after 400")
    }
}
