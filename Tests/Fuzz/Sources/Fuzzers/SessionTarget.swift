import Sockets
import TwinportModel
import Wire

@testable import Tunnel

// A session against a peer that says anything, flows that do anything, and a clock that jumps. The input is
// a script: frames that are nearly right more often than not, raw bytes, and what happens on this side.
//
// Found wrong: a trap; a call to a flow or the delegate after its end; an end that is not told, or told
// twice; more bytes held, or more credit given, than the budgets have; a stream left when all is over.

func fuzzSession(_ input: [UInt8]) {
    let rig = SessionRig()
    var script = Script(input)
    if script.byte() & 1 == 0 { rig.hello() }
    while !script.isAtEnd { rig.step(&script) }
    rig.finish()
}

/// A flow that follows the script and watches its own life.
private final class ScriptedFlow: StreamHandler {
    unowned let rig: SessionRig
    weak var stream: TunnelStream?
    var isOver = false
    var held = 0
    var action: UInt8 = 0

    init(_ rig: SessionRig) { self.rig = rig }

    private func meddle() {
        switch action {
        case 1: stream?.reset(.other)
        case 2: rig.session.end(SessionEnd(.other, "a flow says so"))
        case 3: _ = stream?.markReady()
        case 4: stream?.consumed(held)
        case 5: stream?.refuse(.limit)
        case 6: rig.session.pump()
        default: break
        }
        if action == 4 { held = 0 }
        if action == 1 || action == 5 { isOver = true }
        action = 0
    }

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        require(!isOver, "a turn after the end")
        let wanted = action
        if wanted == 2 || wanted == 1 { meddle() }
        switch wanted {
        case 7: return .end
        case 8: return .failed(.reset)
        case 9:
            isOver = true
            return .failed(.other)
        case 10, 11:
            let count = min(limit, wanted == 10 ? 1 : 40_000)
            action = 0
            buffer.append([UInt8](repeating: 0, count: count))
            return .bytes(count, more: wanted == 10)
        case 12:
            action = 0
            guard stream?.transport == .tcp else { return .nothing }
            buffer.append([0])
            return .urgent
        default: return .nothing
        }
    }

    func receivedUrgent(_ byte: UInt8) {
        require(!isOver, "an urgent byte after the end")
        held += 1
        meddle()
    }

    func moved(to port: UInt16) {
        require(!isOver && stream?.transport == .udp, "MOVED")
        meddle()
    }

    func keepAlive(after seconds: UInt16) {
        require(!isOver && stream?.transport == .tcp, "KEEPALIVE")
        meddle()
    }

    func received(_ bytes: Span<UInt8>) {
        require(!isOver, "bytes after the end")
        if stream?.transport == .tcp { held += bytes.count }
        meddle()
    }

    func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun) {
        require(!isOver, "datagrams after the end")
        require(stream?.transport == .udp && run.count > 1, "a run of datagrams")
        for index in 0..<run.count {
            require(run[index].upperBound <= bytes.count, "a datagram outside of its bytes")
        }
        meddle()
    }

    func receivedEnd() {
        require(!isOver, "FIN after the end")
        meddle()
    }

    func streamEnded(_ code: ResetCode) {
        require(!isOver, "ended twice")
        isOver = true
    }
}

private final class SessionRig: HandshakeDelegate, SessionDelegate {
    let link = MemoryLink()
    var now: UInt64 = 1_000
    private(set) var session: Session!
    private var flows: [ScriptedFlow] = []
    private var ends = 0
    /// Large ones are worth their time now and then only.
    private static let sizes = [1, 3, 100, 1, 2_000, 1, 10, 500, 1, 1, 40_000, 7, 1, 1, 1, 262_144]

    init() {
        session = Session(
            link: link,
            hello: Hello(
                role: .host, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "",
                program: ""),
            handshake: self, clock: { [unowned self] in now })
        session.start()
    }

    func hello() {
        say {
            Hello(
                role: .guest, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "",
                program: ""
            ).write(to: &$0)
        }
    }

    func say(_ write: (inout ByteWriter) -> Void) {
        var writer = ByteWriter()
        write(&writer)
        link.incoming += writer.bytes
    }

    func step(_ script: inout Script) {
        switch script.number(below: 16) {
        case 0...6: frame(&script)
        case 7: link.incoming += script.take(script.number(below: 40))
        case 8: now += [1, 100, 1_000, 3_000, 20_000][script.number(below: 5)]
        case 9: session.tick()
        case 10: link.capacity = [0, 1, 100, 100_000, .max][script.number(below: 5)]
        case 11: local(&script)
        case 12: flow(&script)?.action = script.byte() % 13
        case 13: _ = flow(&script)?.stream?.markReady()
        case 14: consume(&script)
        default: session.pump()
        }
        session.linkReadable()
        check()
    }

    /// A frame that is right but for its place.
    private func frame(_ script: inout Script) {
        let isGuest = script.byte() & 3 != 0
        let id = StreamID(
            slot: script.number(below: 3) + 1, generation: UInt16(script.number(below: 2)),
            isGuestOpened: isGuest)
        let transport: TransportProtocol = script.byte() & 3 == 0 ? .udp : .tcp
        let here = Endpoint(.loopbackV4, 1)
        switch script.number(below: 16) {
        case 0, 1:
            say {
                OpenMessage(
                    listener: ListenerID(rawValue: 1), transport: transport, window: 50_000,
                    client: here, dialled: here
                ).write(to: &$0, stream: id)
            }
        case 2, 3: payload(.data, id, Self.sizes[script.number(below: Self.sizes.count)])
        case 4: payload(.datagram, id, script.number(below: 3))
        case 5: say { Frames.writeFin(id, to: &$0) }
        case 6: say { Frames.writeEnd(.reset, id, .reset, to: &$0) }
        case 7: say { Frames.writeEnd(.refused, id, .refused, to: &$0) }
        case 8: say { Frames.writeOpened(id, window: 60_000, to: &$0) }
        case 9:
            let offset = UInt64(script.byte()) << UInt64(script.number(below: 60))
            say { Frames.writeWindow(id, offset: offset, to: &$0) }
        case 10: say { Frames.writeNumber(.ping, 1, to: &$0) }
        case 11: say { Frames.writeMoved(id, port: UInt16(script.byte()) << 7, to: &$0) }
        case 12: say { Frames.writeKeepAlive(id, seconds: UInt16(script.byte()), to: &$0) }
        case 13: payload(.urgent, id, script.byte() & 15 == 0 ? 2 : 1)
        default:
            say {
                ListenerMessage(
                    id: ListenerID(rawValue: 1), kind: 1, isV6Only: false, endpoint: here, uid: 0,
                    owner: "", container: ""
                ).write(to: &$0)
            }
        }
    }

    private func payload(_ type: FrameType, _ id: StreamID, _ count: Int) {
        let packed = FrameHeader(type, length: count, stream: id.rawValue).packed
        link.incoming += (0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) }
        link.incoming += [UInt8](repeating: 0, count: count)
    }

    private func local(_ script: inout Script) {
        let here = Endpoint(.loopbackV4, 1)
        let flow = ScriptedFlow(self)
        flow.stream = session.open(
            ListenerID(rawValue: 1), script.byte() & 3 == 0 ? .udp : .tcp, client: here,
            dialled: here, handler: flow)
        if flow.stream != nil { flows.append(flow) }
    }

    private func flow(_ script: inout Script) -> ScriptedFlow? {
        flows.isEmpty ? nil : flows[script.number(below: flows.count)]
    }

    private func consume(_ script: inout Script) {
        guard let flow = flow(&script) else { return }
        let count = script.byte() & 1 == 0 ? flow.held : flow.held / 2
        flow.held -= count
        flow.stream?.consumed(count)
    }

    private func check() {
        require(
            session.memory.budget.held <= ReceiveBudget.maxHeld,
            "held \(session.memory.budget.held)")
        require(
            session.memory.budget.growth <= ReceiveBudget.growth,
            "grown \(session.memory.budget.growth)")
        require(
            session.streams.accepted.count <= 3,
            "\(session.streams.accepted.count) streams in 3 slots")
        require(session.isEnded == (ends == 1), "ended: \(session.isEnded), told: \(ends)")
    }

    func finish() {
        session.end(SessionEnd(.shutdown, "over"))
        session.pump()
        session.tick()
        require(ends == 1, "told of the end \(ends) times")
        for flow in flows where !flow.isOver {
            // Alive to the last: the session's end was its own, unless both directions had ended before.
            require(flow.stream?.handler == nil, "a flow that was not told")
        }
    }

    // MARK: What the session says

    private func alive() { require(ends == 0, "called after the end") }

    func greeted(_ hello: Hello) {
        alive()
        session.adopt(self)
    }
    func settle() {}
    func received(_ message: ControlMessage) { alive() }
    func opened(_ stream: TunnelStream, _ message: OpenMessage) {
        alive()
        guard flows.count % 5 != 4 else { return stream.refuse(.unknownListener) }
        let flow = ScriptedFlow(self)
        flow.stream = stream
        stream.attach(flow)
        flows.append(flow)
        if flows.count % 3 != 0 { stream.acceptOpen() }
    }
    func writeControl(to writer: inout ByteWriter, withWithdrawals: Bool) -> ControlTurn {
        .nothing
    }
    func handshakeEnded(_ end: SessionEnd) { ends += 1 }
    func sessionEnded(_ end: SessionEnd) { ends += 1 }
}
