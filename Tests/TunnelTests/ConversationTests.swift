import TestSupport
import Testing
import Tunnel
import TwinportModel
import Wire

/// What a guest says in a conversation that has every frame in it, and what the host makes of it.
private struct Conversation {
    let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)
    let second = StreamID(slot: 2, generation: 0, isGuestOpened: true)
    let bytes: [UInt8]

    init() {
        let (first, second) = (self.first, self.second)
        let here = Endpoint(.loopbackV4, 7)
        var all: [UInt8] = []
        func say(_ write: (inout ByteWriter) -> Void) {
            var writer = ByteWriter()
            write(&writer)
            all += writer.bytes
        }
        func say(_ type: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
            let packed = FrameHeader(rawType: type, length: payload.count, stream: stream).packed
            all += (0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) } + payload
        }
        func open(_ id: StreamID, _ transport: TransportProtocol) {
            say {
                OpenMessage(
                    listener: ListenerID(rawValue: 1), transport: transport, window: 100,
                    client: here, dialled: here
                ).write(to: &$0, stream: id)
            }
        }
        say {
            Hello(
                role: .guest, instance: 1, epoch: 2, os: "Linux", kernel: "6", hostname: "vm",
                program: "t"
            ).write(to: &$0)
        }
        say {
            ListenerMessage(
                id: ListenerID(rawValue: 4), kind: 1, isV6Only: false, endpoint: here, uid: 0,
                owner: "1/x", container: ""
            ).write(to: &$0)
        }
        say { Frames.writeNumber(.sync, 2, to: &$0) }
        open(first, .tcp)
        say(0x13, first.rawValue, Array("hello".utf8))
        open(second, .udp)
        say(0x17, second.rawValue, [1, 2, 3])
        say(0x17, second.rawValue, [])
        say { Frames.writeNumber(.ping, 9, to: &$0) }
        say(0xf1, 0, [7, 7, 7])
        say { Frames.writeWindow(first, offset: 300, to: &$0) }
        say(0x13, first.rawValue, Array(" world".utf8))
        say {
            MirrorMessage(
                id: ListenerID(rawValue: 1), state: .active, reason: "", addresses: [here]
            ).write(to: &$0)
        }
        say { Frames.writeFin(first, to: &$0) }
        say { Frames.writeEnd(.reset, second, .expired, to: &$0) }
        say { Frames.writeGone(ListenerID(rawValue: 4), to: &$0) }
        say { Frames.writeGoAway(.shutdown, "bye", to: &$0) }
        // Never read: GOAWAY came before.
        say(0x7f, 0, [])
        bytes = all
    }

    /// Everything the host's user could see.
    static func outcome(of victim: Victim) -> String {
        let flows = victim.host.accepted.map { flow in
            "\(flow.received) \(flow.datagrams) end:\(flow.gotEnd) code:\(String(describing: flow.endCode))"
        }
        return "\(victim.host.log) \(flows) \(String(describing: victim.host.end))"
    }
}

@Suite struct ConversationTests {
    private let conversation = Conversation()

    private func play(_ pieces: [ArraySlice<UInt8>]) -> Victim {
        let victim = Victim()
        for piece in pieces where victim.host.end == nil { victim.send(Array(piece)) }
        return victim
    }

    @Test func `a conversation means the same at every split, and byte by byte`() {
        let bytes = conversation.bytes
        let whole = Conversation.outcome(of: play([bytes[...]]))
        #expect(whole.contains("bye") && whole.contains("[[1, 2, 3], []]"))
        for split in 1..<bytes.count {
            let outcome = Conversation.outcome(of: play([bytes[..<split], bytes[split...]]))
            #expect(outcome == whole, "split at \(split)")
        }
        let dribbled = play(bytes.indices.map { bytes[$0...$0] })
        #expect(Conversation.outcome(of: dribbled) == whole)
    }

    @Test func `a conversation cut anywhere ends every stream, and no direction looks complete`() {
        let bytes = conversation.bytes
        let whole = play([bytes[...]])
        for length in 0..<bytes.count {
            let victim = play([bytes[..<length]])
            let hadEnd = victim.host.accepted.map(\.gotEnd)
            victim.host.link.isPeerClosed = true
            victim.host.session.linkReadable()
            #expect(victim.host.end != nil, "cut at \(length)")
            for (index, flow) in victim.host.accepted.enumerated() {
                // What came is a beginning of what would have come; FIN only where FIN was sent.
                let complete = whole.host.accepted[index]
                #expect(complete.received.starts(with: flow.received), "cut at \(length)")
                #expect(flow.gotEnd == hadEnd[index] && flow.endCode != nil, "cut at \(length)")
            }
        }
    }

    @Test func `one wrong byte anywhere never traps and never invents bytes`() {
        var generator = SeededGenerator()
        let bytes = conversation.bytes
        for index in bytes.indices {
            var wrong = bytes
            wrong[index] ^= UInt8.random(in: 1...255, using: &generator)
            let victim = play([wrong[...]])
            let received = victim.host.accepted.reduce(0) { $0 + $1.received.count }
            #expect(received <= wrong.count, "byte \(index), seed \(generator.seed)")
        }
    }

    @Test func `frames in any order never trap, and leave every table in step`() {
        var generator = SeededGenerator()
        for _ in 0..<2_000 {
            let victim = Victim()
            victim.hello()
            let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)
            let frames: [(Victim) -> Void] = [
                { $0.open(1) }, { $0.open(1, .udp) }, { $0.data(first.rawValue, 10) },
                { $0.send { Frames.writeFin(first, to: &$0) } },
                { $0.send { Frames.writeEnd(.reset, first, .reset, to: &$0) } },
                { $0.send { Frames.writeEnd(.refused, first, .reset, to: &$0) } },
                { $0.send { Frames.writeOpened(first, window: 9, to: &$0) } },
                { $0.send { Frames.writeWindow(first, offset: 2_000, to: &$0) } },
                { $0.frame(0x17, stream: first.rawValue, [1]) },
                { _ = $0.host.accepted.last?.stream?.markReady() },
                { $0.host.accepted.last?.stream?.reset(.other) },
                { $0.host.accepted.last?.toSend = [1, 2, 3] },
                { $0.host.accepted.last?.endsAfterSending = true },
                { $0.host.session.pump() },
            ]
            for _ in 0..<12 where victim.host.end == nil {
                frames.randomElement(using: &generator)?(victim)
            }
            #expect(
                victim.host.session.streamCount <= victim.host.accepted.count,
                "seed \(generator.seed)")
        }
    }
}
