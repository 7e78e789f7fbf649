import Testing
import Tunnel
import TwinportModel
import Wire

// The rules and limits of docs/protocol.md, each at its boundary, one below and one above.

@Suite struct BoundaryTests {
    private let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)

    private func greeted(_ change: (inout Hello) -> Void = { _ in }) -> Victim {
        let victim = Victim()
        victim.hello(change)
        return victim
    }

    private func helloBytes() -> [UInt8] {
        var writer = ByteWriter()
        Hello(
            role: .guest, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "",
            program: ""
        ).write(to: &writer)
        return Array(writer.bytes.dropFirst(FrameHeader.size))
    }

    // MARK: Frames

    @Test(arguments: [
        (FrameType.data.rawValue, 262_144, true), (FrameType.data.rawValue, 262_145, false),
        (FrameType.datagram.rawValue, 65_535, true), (FrameType.datagram.rawValue, 65_536, false),
        (0x80, 65_535, true), (0x80, 65_536, false),
        (0xff, 0, true), (0x7f, 0, false), (0x23, 0, false), (0x00, 0, false),
    ]) func `a frame is as long as its type allows`(type: UInt8, length: Int, isFine: Bool) {
        let victim = greeted()
        victim.open(1, type == FrameType.datagram.rawValue ? .udp : .tcp)
        victim.frame(type, stream: first.rawValue, claiming: length, [])
        #expect(victim.verdict == (isFine ? nil : .protocolError))
    }

    @Test func `DATA of nothing ends the session, a datagram of nothing does not`() {
        let data = greeted()
        data.open(1)
        data.frame(FrameType.data.rawValue, stream: first.rawValue)
        #expect(data.verdict == .protocolError)
        let datagram = greeted()
        datagram.open(1, .udp)
        datagram.frame(FrameType.datagram.rawValue, stream: first.rawValue)
        #expect(datagram.verdict == nil && datagram.host.accepted[0].datagrams == [[]])
    }

    @Test(arguments: FrameType.allCases)
    func `a frame on the wrong kind of stream ends the session`(type: FrameType) {
        let isSessions =
            ![.open, .opened, .refused, .data, .fin, .window, .reset, .datagram].contains(type)
        let victim = greeted()
        victim.open(1)
        // Stream 0 for what belongs to a stream; a stream for what belongs to the session.
        victim.frame(
            type.rawValue, stream: isSessions ? first.rawValue : 0,
            [UInt8](repeating: 0, count: 12))
        #expect(victim.verdict == .protocolError)
    }

    @Test(arguments: [
        FrameType.listenerGone, .sync, .ping, .pong, .open, .opened, .window, .reset, .refused,
        .fin, .listener, .mirror, .goAway,
    ]) func `a payload one byte short or one byte long ends the session`(type: FrameType) {
        let whole: [UInt8] =
            switch type {
            case .listenerGone, .opened: [1, 0, 0, 0]
            case .sync, .ping, .pong, .window: [1, 0, 0, 0, 0, 0, 0, 0]
            case .reset, .refused: [0, 0]
            case .fin: []
            case .open:
                [1, 0, 0, 0, 6, 1, 0, 0, 0] + [4, 1, 0] + [UInt8](repeating: 0, count: 16)
                    + [4, 1, 0] + [UInt8](repeating: 0, count: 16)
            case .listener:
                [1, 0, 0, 0, 1, 0, 4, 1, 0] + [UInt8](repeating: 0, count: 16) + [0, 0, 0, 0, 0, 0]
            case .mirror: [1, 0, 0, 0, 1, 0, 0]
            default: [1, 0, 0]
            }
        let isSessions = [.listenerGone, .sync, .ping, .pong, .listener, .mirror, .goAway]
            .contains(type)
        // Of our own stream OPENED and REFUSED may come; OPEN names one of its own.
        let isAnswer = type == .opened || type == .refused
        func play(_ payload: [UInt8]) throws -> SessionEnd? {
            let victim = greeted()
            victim.open(1)
            var number = first.rawValue
            if isAnswer {
                let stream = try #require(victim.host.open(ScriptedFlow()))
                victim.host.session.pump()
                number = stream.id.rawValue
            }
            if type == .open {
                number = StreamID(slot: 2, generation: 0, isGuestOpened: true).rawValue
            }
            victim.frame(type.rawValue, stream: isSessions ? 0 : number, payload)
            return victim.host.end
        }
        do {
            let fine = try play(whole)
            #expect(fine == nil || (type == .goAway && fine?.isByPeer == true), "\(type)")
            #expect(try play(whole + [0])?.code == .protocolError)
            if !whole.isEmpty {
                #expect(try play(Array(whole.dropLast()))?.code == .protocolError)
            }
        } catch {
            Issue.record(error)
        }
    }

    // MARK: Beginning

    @Test(arguments: [(4_096, true), (4_097, false)])
    func `a HELLO has at most 4,096 bytes`(length: Int, isFine: Bool) {
        let victim = Victim()
        let hello = helloBytes()
        // What follows the known fields is for later versions.
        victim.frame(
            FrameType.hello.rawValue, hello + [UInt8](repeating: 7, count: length - hello.count))
        #expect(victim.verdict == (isFine ? nil : .protocolError))
        #expect((victim.host.greeted != nil) == isFine)
    }

    @Test func `a HELLO cut anywhere greets nobody`() {
        let hello = helloBytes()
        for length in 0..<hello.count {
            let victim = Victim()
            victim.frame(FrameType.hello.rawValue, Array(hello[..<length]))
            #expect(victim.verdict == .protocolError && victim.host.greeted == nil)
        }
    }

    @Test func `each byte of the magic counts`() {
        for index in 0..<8 {
            var hello = helloBytes()
            hello[index] ^= 1
            let victim = Victim()
            victim.frame(FrameType.hello.rawValue, hello)
            #expect(victim.verdict == .protocolError && victim.host.greeted == nil)
        }
    }

    @Test(arguments: [
        (UInt16(1), UInt16(1), true), (0, 1, true), (1, 9, true), (0, 65_535, true), (2, 3, false),
        (0, 0, false),
        (2, 1, false),
    ]) func `a session has a version that both speak`(min: UInt16, max: UInt16, isFine: Bool) {
        let victim = greeted { $0.versions = VersionRange(min: min, max: max) }
        #expect(victim.verdict == (isFine ? nil : .version))
    }

    @Test(arguments: [
        (UInt32(0), false), (1, true), (8 << 20, true), ((8 << 20) + 1, false), (.max, false),
    ]) func `an initial window is from 1 byte to 8 MiB`(window: UInt32, isFine: Bool) {
        let victim = greeted { $0.initialWindow = window }
        #expect(victim.verdict == (isFine ? nil : .protocolError))
    }

    @Test
    func `features: what is required and unknown ends the session, what is optional does not`() {
        #expect(greeted { $0.optionalFeatures = .max }.verdict == nil)
        #expect(greeted { $0.requiredFeatures = 1 << 31 }.verdict == .version)
    }

    @Test(arguments: [(UInt64(4_999), false), (5_000, true)])
    func `HELLO comes within five seconds`(milliseconds: UInt64, isTooLate: Bool) {
        let victim = Victim()
        var left = milliseconds
        while left > 0 {
            let step = min(left, 500)
            victim.now += step
            left -= step
            victim.host.session.tick()
        }
        #expect((victim.verdict == .timeout) == isTooLate)
    }

    @Test func `before HELLO nothing but GOAWAY is heard, and no number survives it`() {
        for type in FrameType.allCases where type != .hello && type != .goAway {
            let victim = Victim()
            victim.frame(type.rawValue, stream: type == .data ? 2 : 0, [1, 2, 3, 4, 5, 6, 7, 8])
            #expect(victim.verdict == .protocolError, "\(type)")
        }
        let victim = Victim()
        victim.send { Frames.writeGoAway(.busy, "later", to: &$0) }
        #expect(victim.host.end == SessionEnd(.busy, "later", isByPeer: true))
    }

    // MARK: Streams

    @Test func `slots go from 1 to 65,535`() {
        let zero = greeted()
        zero.frame(FrameType.open.rawValue, stream: 1, [])
        #expect(zero.verdict == .protocolError)
        let last = greeted()
        last.open(0xffff)
        #expect(last.verdict == nil && last.host.accepted.count == 1)
    }

    @Test func `a peer opens as many streams as our HELLO allows, not one more`() {
        let victim = greeted()
        let batch = 5_000
        for start in stride(from: 1, through: 65_535, by: batch) {
            victim.send { writer in
                for slot in start...min(65_535, start + batch - 1) {
                    OpenMessage(
                        listener: ListenerID(rawValue: 1), transport: .tcp, window: 1,
                        client: Endpoint(.loopbackV4, 1), dialled: Endpoint(.loopbackV4, 1)
                    ).write(
                        to: &writer,
                        stream: StreamID(slot: slot, generation: 0, isGuestOpened: true))
                }
            }
            victim.host.link.outgoing.removeAll()
        }
        #expect(victim.verdict == nil && victim.host.session.streamCount == 65_535)
        victim.open(1, generation: 1)
        #expect(victim.verdict == .protocolError)
    }

    @Test(arguments: [(UInt32(2), 2), (0, 0), (70_000, 65_535)])
    func `we open as many streams as the peer's HELLO allows`(limit: UInt32, count: Int) {
        let victim = greeted { $0.maxStreams = limit }
        var opened = 0
        while victim.host.open(ScriptedFlow()) != nil {
            opened += 1
            if opened % 1_000 == 0 {
                victim.host.session.pump()
                victim.host.link.outgoing.removeAll()
            }
        }
        #expect(opened == count && victim.verdict == nil)
    }

    @Test func `a number is used again with another generation only`() throws {
        for (generation, isFine) in [(UInt16(0), false), (1, true), (0x7fff, true)] {
            let victim = greeted()
            victim.open(1)
            victim.send { Frames.writeEnd(.reset, first, .reset, to: &$0) }
            #expect(victim.host.session.streamCount == 0)
            victim.open(1, generation: generation)
            #expect(victim.verdict == (isFine ? nil : .protocolError))
        }
    }

    @Test func `a number is free only when both terminals were seen`() throws {
        let victim = greeted()
        victim.open(1)
        victim.send { Frames.writeFin(first, to: &$0) }
        victim.open(1, generation: 1)
        #expect(victim.verdict == .protocolError)
        // A slot that we refused counts until the peer has answered.
        let refusing = greeted()
        refusing.host.onOpen = { stream, _ in stream.refuse(.refused) }
        refusing.open(1)
        #expect(refusing.host.session.streamCount == 1)
        refusing.send { Frames.writeEnd(.reset, first, .other, to: &$0) }
        #expect(refusing.host.session.streamCount == 0 && refusing.verdict == nil)
    }

    @Test func `OPENED and REFUSED come once, and from the side that did not open`() throws {
        func play(_ frames: [(inout ByteWriter, StreamID) -> Void]) throws -> GoAwayCode? {
            let victim = greeted()
            let stream = try #require(victim.host.open(ScriptedFlow()))
            victim.host.session.pump()
            for frame in frames where victim.host.end == nil {
                victim.send { frame(&$0, stream.id) }
            }
            return victim.verdict
        }
        let opened = { (writer: inout ByteWriter, id: StreamID) in
            Frames.writeOpened(id, window: 1, to: &writer)
        }
        let refused = { (writer: inout ByteWriter, id: StreamID) in
            Frames.writeEnd(.refused, id, .refused, to: &writer)
        }
        #expect(try play([opened]) == nil)
        #expect(try play([refused]) == nil)
        #expect(try play([opened, opened]) == .protocolError)
        #expect(try play([opened, refused]) == .protocolError)
        #expect(try play([refused, opened]) == .protocolError)
        let wrong = greeted()
        wrong.open(1)
        wrong.send { Frames.writeOpened(first, window: 1, to: &$0) }
        #expect(wrong.verdict == .protocolError)
        let alsoWrong = greeted()
        alsoWrong.open(1)
        alsoWrong.send { Frames.writeEnd(.refused, first, .other, to: &$0) }
        #expect(alsoWrong.verdict == .protocolError)
    }

    @Test func `DATA and DATAGRAM each have their protocol`() {
        let data = greeted()
        data.open(1, .udp)
        data.data(first.rawValue, 1)
        #expect(data.verdict == .protocolError)
        let datagram = greeted()
        datagram.open(1, .tcp)
        datagram.frame(FrameType.datagram.rawValue, stream: first.rawValue, [1])
        #expect(datagram.verdict == .protocolError)
    }

    @Test func `after a terminal only WINDOW may come, and one RESET after FIN`() {
        for terminal in [FrameType.fin, .reset] {
            for next in [FrameType.data, .fin, .datagram, .opened] {
                let victim = greeted()
                victim.host.onOpen = { stream, _ in stream.acceptOpen() }
                victim.open(1)
                // Our terminal does not leave: the stream stays in the table.
                victim.host.link.capacity = 0
                victim.frame(
                    terminal.rawValue, stream: first.rawValue, terminal == .fin ? [] : [0, 0])
                victim.frame(
                    next.rawValue, stream: first.rawValue,
                    next == .opened ? [1, 0, 0, 0] : next == .fin ? [] : [1])
                #expect(victim.verdict == .protocolError, "\(next) after \(terminal)")
            }
            let victim = greeted()
            victim.open(1)
            victim.host.link.capacity = 0
            victim.frame(terminal.rawValue, stream: first.rawValue, terminal == .fin ? [] : [0, 0])
            victim.send { Frames.writeWindow(first, offset: 5_000, to: &$0) }
            victim.send { Frames.writeEnd(.reset, first, .reset, to: &$0) }
            #expect(victim.verdict == nil, "\(terminal)")
        }
    }

    // MARK: Credit

    @Test(arguments: [32_767, 32_768, 32_769])
    func `DATA fits the credit to the byte`(count: Int) {
        let victim = greeted()
        victim.host.onOpen = { stream, flow in
            flow.consumes = false
            stream.acceptOpen()
        }
        victim.open(1)
        victim.data(first.rawValue, min(count, 32_768))
        if count > 32_768 { victim.data(first.rawValue, count - 32_768) }
        let flow = victim.host.accepted[0]
        #expect(flow.endCode == (count > 32_768 ? .violation : nil))
        #expect(flow.received.count == min(count, 32_768) && victim.verdict == nil)
    }

    @Test func `WINDOW goes up to 2^63-1`() {
        for (offset, isFine) in [(UInt64(Int64.max), true), (UInt64(Int64.max) + 1, false)] {
            let victim = greeted()
            victim.open(1)
            victim.send { Frames.writeWindow(first, offset: offset, to: &$0) }
            #expect(victim.verdict == (isFine ? nil : .protocolError))
        }
    }

    @Test func `OPEN's window is what we may send, to the byte`() throws {
        let victim = greeted()
        victim.open(1)
        let flow = try #require(victim.host.accepted.first)
        flow.toSend = [UInt8](repeating: 1, count: 5_000)
        _ = flow.stream?.markReady()
        victim.host.session.pump()
        #expect(flow.toSend.count == 4_000)
        for (offset, left) in [(UInt64(999), 4_000), (1_000, 4_000), (1_001, 3_999)] {
            victim.send { Frames.writeWindow(first, offset: offset, to: &$0) }
            #expect(flow.toSend.count == left)
        }
    }

    // MARK: Roles

    @Test func `POLICY comes from the host only`() {
        let victim = greeted()
        victim.send { PolicyMessage().write(to: &$0) }
        #expect(victim.verdict == .protocolError)
    }

    @Test func `what POLICY says stays within what settings can say`() throws {
        func read(_ policy: PolicyMessage) throws -> PolicyMessage {
            var writer = ByteWriter()
            policy.write(to: &writer)
            return try PolicyMessage(writer.bytes.span, FrameHeader.size..<writer.bytes.count)
        }
        var policy = PolicyMessage()
        policy.udpIdle = .max
        policy.udpEphemeralAfter = .max - 1
        policy.scanInterval = .max
        var got = try read(policy)
        #expect(got.udpIdle == 86_400_000 && got.udpEphemeralAfter == 86_400_000)
        #expect(got.scanInterval == 60_000)
        policy.udpIdle = 0
        policy.scanInterval = 1
        got = try read(policy)
        #expect(got.udpIdle == 1_000 && got.scanInterval == 5)
    }
}
