import Sockets
import Testing
import TwinportModel
import Wire

@testable import Tunnel

// Floods, and peers that do not do their part. What a peer can make us hold is bounded in each.

@Suite struct FloodTests {
    private let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)

    private func greeted() -> Victim {
        let victim = Victim()
        victim.hello()
        return victim
    }

    /// Sends the same frames until the session ends.
    private func flood(
        _ victim: Victim, atMost limit: Int, _ write: (inout ByteWriter, Int) -> Void
    ) -> Int {
        for number in 0..<limit {
            guard victim.host.end == nil else { return number }
            victim.send { write(&$0, number) }
            victim.host.link.outgoing.removeAll(keepingCapacity: true)
        }
        return limit
    }

    @Test(arguments: [
        (FrameType.ping, 100), (.pong, 100), (.sync, 100), (.listener, 40_000),
        (.listenerGone, 40_000), (.mirror, 40_000), (.window, 20_000), (.reset, 20_000),
    ]) func `a flood is taken up to its burst, and ends with GOAWAY calm`(
        type: FrameType, burst: Int
    ) {
        let victim = greeted()
        let taken = flood(victim, atMost: burst + 10) { writer, number in
            switch type {
            case .listener:
                ListenerMessage(
                    id: ListenerID(rawValue: UInt32(number)), kind: 1, isV6Only: false,
                    endpoint: Endpoint(.loopbackV4, 80), uid: 0, owner: "", container: ""
                ).write(to: &writer)
            case .listenerGone: Frames.writeGone(ListenerID(rawValue: 1), to: &writer)
            case .mirror:
                MirrorMessage(
                    id: ListenerID(rawValue: 1), state: .active, reason: "", addresses: []
                ).write(to: &writer)
            case .window: Frames.writeWindow(first, offset: 1, to: &writer)
            case .reset: Frames.writeEnd(.reset, first, .other, to: &writer)
            default: Frames.writeNumber(type, 1, to: &writer)
            }
        }
        #expect(victim.verdict == .calm && taken == burst + 1)
    }

    @Test func `small frames get turns as short as others`() {
        let victim = greeted()
        let link = victim.host.link
        var writer = ByteWriter()
        for _ in 0..<9_000 { Frames.writeWindow(first, offset: 1, to: &writer) }
        let frames = Array(writer.bytes)
        link.incoming += frames
        victim.host.session.linkReadable()
        #expect(link.incoming.isEmpty)
        // Now it is known that they are small.
        link.incoming += frames
        victim.host.session.linkReadable()
        #expect(link.incoming.count == frames.count - 65_536)
        while !link.incoming.isEmpty { victim.host.session.linkReadable() }
        #expect(victim.host.end == nil)
        // And with large ones there is more at a time again.
        victim.open(1)
        for _ in 0..<2 { victim.data(first.rawValue, 16_000) }
        #expect(victim.host.session.inbox.readLimit == .max)
    }

    @Test func `each LISTENER pays for one LISTENER_GONE`() {
        let victim = greeted()
        for number in 0..<20_000 as Range<UInt32> {
            victim.send {
                ListenerMessage(
                    id: ListenerID(rawValue: number), kind: 1, isV6Only: false,
                    endpoint: Endpoint(.loopbackV4, 80), uid: 0, owner: "", container: ""
                ).write(to: &$0)
            }
        }
        // All go at once, and 20,000 more come: 60,000 frames.
        for number in 0..<40_000 as Range<UInt32> {
            victim.send { Frames.writeGone(ListenerID(rawValue: number % 20_000), to: &$0) }
            guard number >= 20_000 else { continue }
            #expect(victim.verdict == nil, "\(number)")
            if victim.verdict != nil { return }
        }
        victim.send { Frames.writeGone(ListenerID(rawValue: 1), to: &$0) }
        #expect(victim.verdict == .calm)
    }

    @Test func `frames of unknown types are skipped, 20,000 at once`() {
        let victim = greeted()
        for _ in 0..<20_000 { victim.frame(0xf0, stream: 7) }
        #expect(victim.verdict == nil)
        victim.frame(0xff)
        #expect(victim.verdict == .calm)
    }

    @Test func `a rate below the limit goes on for hours`() {
        let victim = greeted()
        for _ in 0..<3_600 {
            for _ in 0..<20 { victim.send { Frames.writeNumber(.ping, 1, to: &$0) } }
            victim.host.link.outgoing.removeAll()
            victim.now += 1_000
        }
        #expect(victim.verdict == nil)
    }

    @Test func `RESET again and again on a stream whose end we could not send is counted`() {
        let victim = greeted()
        victim.open(1)
        victim.host.link.capacity = 0
        let taken = flood(victim, atMost: 30_000) { writer, _ in
            Frames.writeEnd(.reset, first, .other, to: &writer)
        }
        // The first has an effect.
        #expect(victim.verdict == .calm && taken == 20_002)
    }

    @Test func `WINDOW on a stream we have finished is counted, however large`() {
        let victim = greeted()
        victim.open(1)
        victim.host.accepted[0].endsAfterSending = true
        _ = victim.host.accepted[0].stream?.markReady()
        victim.host.session.pump()
        let taken = flood(victim, atMost: 30_000) { writer, number in
            Frames.writeWindow(first, offset: 2_000 + UInt64(number), to: &writer)
        }
        #expect(victim.verdict == .calm && taken == 20_001)
    }

    @Test func `a peer that goes on sending on a stream we reset gets its credit, then is counted`()
    {
        let victim = greeted()
        victim.open(1)
        victim.host.accepted[0].stream?.reset(.other)
        for _ in 0..<4 { victim.data(first.rawValue, 8_192) }
        #expect(victim.verdict == nil && victim.host.accepted[0].received.isEmpty)
        for _ in 0..<20_001 { victim.data(first.rawValue, 1) }
        #expect(victim.verdict == .calm)
    }

    @Test func `streams opened and reset for ever leave nothing behind`() {
        let victim = greeted()
        for round in 0..<30_000 {
            // Two at a time, ended in the order that a list of free slots cannot follow.
            for slot in [1, 2] { victim.open(slot, generation: UInt16(round & 0x7fff)) }
            for slot in [1, 2] {
                let id = StreamID(
                    slot: slot, generation: UInt16(round & 0x7fff), isGuestOpened: true)
                victim.send { Frames.writeEnd(.reset, id, .reset, to: &$0) }
            }
            victim.host.accepted.removeAll(keepingCapacity: true)
            victim.host.link.outgoing.removeAll(keepingCapacity: true)
            victim.now += 1
        }
        #expect(victim.verdict == nil && victim.host.session.streamCount == 0)
        #expect(victim.host.session.streams.accepted.free.isEmpty)
    }

    @Test func `a peer that reads slowly cannot make the scheduler's queues grow`() {
        let victim = greeted()
        // What goes out is always behind: control never runs out, so data is never looked at.
        victim.host.link.capacity = 0
        for round in 0..<40_000 {
            let slot = round % 60_000 + 1
            let generation = UInt16(round / 60_000)
            victim.open(slot, generation: generation)
            let flow = victim.host.accepted[0]
            _ = flow.stream?.markReady()
            let id = StreamID(slot: slot, generation: generation, isGuestOpened: true)
            victim.send { Frames.writeEnd(.reset, id, .reset, to: &$0) }
            victim.host.accepted.removeAll(keepingCapacity: true)
            if round % 100 == 0 { victim.now += 5 }
        }
        let session = victim.host.session!
        // All but the first, whose last frame is in the outbox.
        #expect(victim.verdict == nil && session.streamCount == 39_999)
        // Now it reads everything but the last bit, again and again.
        for _ in 0..<40 {
            victim.host.link.capacity = 20_000
            session.pump()
            victim.host.link.outgoing.removeAll(keepingCapacity: true)
        }
        session.pump()
        #expect(
            session.scheduler.dataCount
                <= 2 * session.streamCount + 64)
    }

    @Test
    func `all streams together hold no more than 20 MiB, and those that hold most are reset`() {
        let victim = greeted()
        victim.host.onOpen = { stream, flow in
            flow.consumes = false
            stream.acceptOpen()
        }
        let window = Int(ReceiveBudget.initialWindow)
        let full = Int(ReceiveBudget.maxHeld) / window
        // So many go at once that 1/64 is free.
        let going = 11
        for slot in 1...full + going {
            victim.open(slot)
            // The flow forgets, the session counts.
            let id = StreamID(slot: slot, generation: 0, isGuestOpened: true)
            for _ in 0..<4 where victim.host.accepted[slot - 1].endCode == nil {
                victim.data(id.rawValue, window / 4)
                victim.host.accepted[slot - 1].received.removeAll()
            }
        }
        #expect(victim.host.session.memory.budget.held == ReceiveBudget.maxHeld)
        #expect(victim.host.accepted.map(\.endCode).filter { $0 == .limit }.count == going)
        #expect(victim.host.session.streamsOverBudget == going && victim.verdict == nil)
        // Who reads at once is not the one to pay.
        let reader = full + going + 1
        victim.host.onOpen = { stream, _ in stream.acceptOpen() }
        victim.open(reader)
        let id = StreamID(slot: reader, generation: 0, isGuestOpened: true)
        for _ in 0..<3 { victim.data(id.rawValue, window / 4) }
        #expect(victim.host.accepted[reader - 1].endCode == nil)
        #expect(victim.host.session.streamsOverBudget == going)
        // What an application reads makes room again.
        victim.host.accepted[20].stream?.consumed(window)
        victim.host.accepted[21].stream?.reset(.reset)
        #expect(
            victim.host.session.memory.budget.held == ReceiveBudget.maxHeld - 2 * UInt64(window))
    }

    @Test func `a peer that takes nothing for 30 s is gone, though it talks`() {
        let victim = greeted()
        victim.host.link.capacity = 0
        var seconds = 0
        while victim.host.end == nil, seconds < 100 {
            victim.now += 1_000
            seconds += 1
            victim.send { Frames.writeNumber(.ping, 1, to: &$0) }
            victim.host.session.tick()
        }
        #expect(victim.verdict == .timeout && (30...32).contains(seconds))
    }

    @Test func `a peer that takes a little now and then stays`() {
        let victim = greeted()
        victim.host.link.capacity = 0
        for second in 0..<300 {
            victim.now += 1_000
            victim.send { Frames.writeNumber(.ping, 1, to: &$0) }
            if second % 20 == 0 { victim.host.link.capacity = 1 }
            victim.host.session.pump()
            victim.host.session.tick()
        }
        #expect(victim.verdict == nil)
    }

    @Test func `a peer that never credits stops its own stream only`() throws {
        let victim = greeted()
        victim.open(1)
        victim.open(2)
        for flow in victim.host.accepted {
            flow.toSend = [UInt8](repeating: 1, count: 10_000)
            _ = flow.stream?.markReady()
        }
        victim.host.session.pump()
        let second = StreamID(slot: 2, generation: 0, isGuestOpened: true)
        victim.send { Frames.writeWindow(second, offset: 10_000, to: &$0) }
        #expect(victim.host.accepted.map(\.toSend.count) == [9_000, 0])
    }
}

@Suite struct ReentrancyTests {
    /// A flow that does something of its own inside a call from the session.
    private final class Meddler: StreamHandler {
        var onFill: () -> Fill = { .nothing }
        var onReceived: () -> Void = {}
        var onEnd: () -> Void = {}
        var codes: [ResetCode] = []

        func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
            let fill = onFill()
            if case .bytes(let count, _) = fill {
                buffer.append([UInt8](repeating: 7, count: count))
            }
            return fill
        }
        func streamOpened() {}
        func received(_ bytes: Span<UInt8>) { onReceived() }
        func receivedEnd() { onEnd() }
        func streamEnded(_ code: ResetCode) { codes.append(code) }
    }

    private let first = StreamID(slot: 1, generation: 0, isGuestOpened: true)

    private func victim(_ meddler: Meddler) -> Victim {
        let victim = Victim()
        victim.hello()
        victim.host.onOpen = { stream, _ in stream.attach(meddler) }
        victim.open(1)
        return victim
    }

    @Test(arguments: [Fill.nothing, .bytes(5, more: true), .end, .failed(.reset), .noRoom])
    func `a flow may end the session inside its turn`(fill: Fill) {
        let meddler = Meddler()
        let victim = victim(meddler)
        meddler.onFill = { [unowned victim] in
            if case .bytes = fill {
                // What it added is not a frame yet when GOAWAY leaves.
                victim.host.session.end(SessionEnd(.other, "enough"))
                return .nothing
            }
            victim.host.session.end(SessionEnd(.other, "enough"))
            return fill
        }
        victim.host.link.outgoing.removeAll()
        _ = victim.host.accepted[0].stream?.markReady()
        victim.host.session.pump()
        #expect(victim.verdict == .other && meddler.codes == [.tunnelLost])
        // The last frame is a whole GOAWAY.
        #expect(victim.host.link.outgoing.first == FrameType.goAway.rawValue)
    }

    @Test(arguments: [Fill.nothing, .bytes(5, more: true), .end, .failed(.reset)])
    func `a flow may reset its stream inside its turn`(fill: Fill) {
        let meddler = Meddler()
        let victim = victim(meddler)
        meddler.onFill = { [unowned victim] in
            victim.host.accepted[0].stream?.reset(.other)
            return fill
        }
        _ = victim.host.accepted[0].stream?.markReady()
        victim.host.session.pump()
        victim.send { Frames.writeEnd(.reset, first, .reset, to: &$0) }
        #expect(victim.host.session.streamCount == 0 && victim.verdict == nil)
    }

    @Test func `a flow may end its stream or the session when bytes or FIN arrive`() {
        for endsSession in [false, true] {
            for isFin in [false, true] {
                let meddler = Meddler()
                let victim = victim(meddler)
                let act: () -> Void = { [unowned victim] in
                    if endsSession {
                        victim.host.session.end(SessionEnd(.other, "enough"))
                    } else {
                        victim.host.accepted[0].stream?.reset(.other)
                    }
                }
                meddler.onReceived = act
                meddler.onEnd = act
                if isFin {
                    victim.send { Frames.writeFin(first, to: &$0) }
                } else {
                    victim.data(first.rawValue, 5)
                    victim.data(first.rawValue, 5)
                }
                #expect((victim.verdict == .other) == endsSession)
            }
        }
    }
}
