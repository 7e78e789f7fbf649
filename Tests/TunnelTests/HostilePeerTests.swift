import TestSupport
import Testing
import Tunnel
import TwinportModel
import Wire

@Suite struct HostilePeerTests {
    private let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)

    @Test(arguments: [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ]) func `other protocols are told what this is`(text: String) {
        let victim = Victim()
        victim.send(Array(text.utf8))
        #expect(victim.host.end?.code == .protocolError)
    }

    @Test func `nothing is accepted before HELLO`() {
        let victim = Victim()
        victim.open(1)
        #expect(victim.host.end?.code == .protocolError)
        #expect(victim.host.accepted.isEmpty)
    }

    @Test func `a second HELLO ends the session`() {
        let victim = Victim()
        victim.hello()
        victim.hello()
        #expect(victim.host.end?.code == .protocolError)
    }

    @Test func `data one byte over the credit resets that stream only`() {
        let victim = Victim()
        victim.hello()
        victim.host.onOpen = { stream, flow in
            flow.consumes = false
            stream.acceptOpen()
        }
        victim.open(1)
        victim.open(2)
        victim.data(first.rawValue, 32_768)
        #expect(victim.host.accepted[0].endCode == nil)
        victim.data(first.rawValue, 1)
        #expect(victim.host.accepted[0].endCode == .violation)
        #expect(victim.host.accepted[1].endCode == nil)
        #expect(victim.host.end == nil)
    }

    @Test func `streams with our parity, twice opened or never opened end the session`() {
        let parity = Victim()
        parity.hello()
        parity.open(1, isGuest: false)
        #expect(parity.host.end?.code == .protocolError)

        let twice = Victim()
        twice.hello()
        twice.open(1)
        twice.open(1)
        #expect(twice.host.end?.code == .protocolError)

        let never = Victim()
        never.hello()
        never.data(first.rawValue, 1)
        #expect(never.host.end?.code == .protocolError)
    }

    @Test func `late WINDOW and RESET are passed over; DATA after FIN is not`() {
        let victim = Victim()
        victim.hello()
        victim.send { Frames.writeWindow(first, offset: 5, to: &$0) }
        victim.send { Frames.writeEnd(.reset, first, .other, to: &$0) }
        #expect(victim.host.end == nil)
        victim.open(1)
        victim.send { Frames.writeFin(first, to: &$0) }
        victim.send { Frames.writeWindow(first, offset: 5_000, to: &$0) }
        #expect(victim.host.end == nil)
        victim.data(first.rawValue, 1)
        #expect(victim.host.end?.code == .protocolError)
    }

    @Test func `WINDOW may not pass 2^63, and going back changes nothing`() throws {
        let victim = Victim()
        victim.hello()
        victim.open(1)
        let flow = try #require(victim.host.accepted.first)
        flow.toSend = [UInt8](repeating: 5, count: 3_000)
        _ = flow.stream?.markReady()
        victim.host.session.pump()
        #expect(flow.toSend.count == 2_000)
        victim.send { Frames.writeWindow(first, offset: 1, to: &$0) }
        #expect(flow.toSend.count == 2_000)
        victim.send { Frames.writeWindow(first, offset: 1_001, to: &$0) }
        #expect(flow.toSend.count == 1_999)
        victim.send { Frames.writeWindow(first, offset: UInt64(Int64.max), to: &$0) }
        #expect(flow.toSend.isEmpty && victim.host.end == nil)
        victim.send { Frames.writeWindow(first, offset: UInt64(Int64.max) + 1, to: &$0) }
        #expect(victim.host.end?.code == .protocolError)
    }

    @Test func `floods end with GOAWAY calm`() {
        let ping = Victim()
        ping.hello()
        for number in 0..<200 { ping.send { Frames.writeNumber(.ping, UInt64(number), to: &$0) } }
        #expect(ping.host.end?.code == .calm)

        let opens = Victim()
        opens.hello()
        for number in 0..<70_000 where opens.host.end == nil {
            let id = StreamID(slot: 1, generation: UInt16(number & 0x7fff), isGuestOpened: true)
            opens.host.accepted.removeAll()
            opens.send {
                OpenMessage(
                    listener: ListenerID(rawValue: 1), transport: .tcp, window: 1,
                    client: Endpoint(.loopbackV4, 1), dialled: Endpoint(.loopbackV4, 1)
                ).write(to: &$0, stream: id)
                Frames.writeEnd(.reset, id, .other, to: &$0)
            }
            opens.host.link.outgoing.removeAll()
        }
        #expect(opens.host.end?.code == .calm)

        let useless = Victim()
        useless.hello()
        for _ in 0..<30_000 { useless.send { Frames.writeWindow(first, offset: 1, to: &$0) } }
        #expect(useless.host.end?.code == .calm)
    }

    @Test func `a peer that reads nothing makes us hold no more than an outbox`() {
        let victim = Victim()
        victim.hello()
        victim.host.link.capacity = 0
        for slot in 1...1_000 { victim.open(slot) }
        for flow in victim.host.accepted {
            flow.toSend = [UInt8](repeating: 1, count: 1_000)
            _ = flow.stream?.markReady()
        }
        victim.host.session.pump()
        let unsent = victim.host.accepted.reduce(0) { $0 + $1.toSend.count }
        #expect(unsent >= 1_000_000 - 400_000)
        #expect(victim.host.end == nil)
    }

    @Test func `random frames never trap`() {
        var generator = SeededGenerator()
        for _ in 0..<400 {
            let victim = Victim()
            victim.hello()
            for _ in 0..<60 where victim.host.end == nil {
                let type = FrameType.allCases.randomElement(using: &generator)!
                let slot = Int.random(in: 1...4, using: &generator)
                let id = StreamID(
                    slot: slot, generation: .random(in: 0...1, using: &generator),
                    isGuestOpened: .random(using: &generator))
                switch Int.random(in: 0...5, using: &generator) {
                case 0: victim.open(slot, Bool.random(using: &generator) ? .tcp : .udp)
                case 1: victim.data(id.rawValue, .random(in: 1...2_000, using: &generator))
                case 2: victim.send { Frames.writeFin(id, to: &$0) }
                case 3: victim.send { Frames.writeEnd(.reset, id, .other, to: &$0) }
                case 4:
                    victim.send {
                        Frames.writeWindow(
                            id, offset: .random(in: 0...(.max), using: &generator), to: &$0)
                    }
                default:
                    let count = Int.random(in: 0...40, using: &generator)
                    let packed = FrameHeader(type, length: count, stream: id.rawValue).packed
                    let header = (0..<8).map {
                        UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0)))
                    }
                    victim.send(header + generator.bytes(count))
                }
            }
        }
    }
}
