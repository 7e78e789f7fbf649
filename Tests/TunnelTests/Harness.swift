import Sockets
import Testing
import TwinportModel
import Wire

@testable import Tunnel

/// A flow that sends what it is given and remembers what came.
final class ScriptedFlow: StreamHandler {
    var toSend: [UInt8] = []
    var endsAfterSending = false
    var received: [UInt8] = []
    var datagrams: [[UInt8]] = []
    var toSendDatagrams: [[UInt8]] = []
    var isDatagram = false
    var gotEnd = false
    /// URGENT, MOVED and KEEPALIVE, in order.
    var extensions: [String] = []
    /// A byte to be sent as urgent, before the others.
    var urgent: UInt8?
    var endCode: ResetCode?
    /// Whether the peer's target answered.
    var wasOpened: Bool { stream?.state.isAnswered == true }
    var consumes = true
    /// Whether `received` is wanted.
    var remembers = true
    /// The session owns it, and it owns this flow.
    weak var stream: TunnelStream?

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        if isDatagram { return fillDatagram(buffer, limit: limit) }
        if let byte = urgent {
            urgent = nil
            buffer.append([byte])
            return .urgent
        }
        if toSend.isEmpty { return endsAfterSending ? .end : .nothing }
        let count = min(limit, toSend.count)
        buffer.append(Array(toSend[..<count]))
        toSend.removeFirst(count)
        return .bytes(count, more: !toSend.isEmpty || endsAfterSending)
    }

    private func fillDatagram(_ buffer: IOBuffer, limit: Int) -> Fill {
        guard let first = toSendDatagrams.first else { return .nothing }
        guard first.count <= limit else { return .noRoom }
        buffer.append(first)
        toSendDatagrams.removeFirst()
        return .bytes(first.count, more: !toSendDatagrams.isEmpty)
    }

    func received(_ bytes: Span<UInt8>) {
        guard remembers else { return }
        var chunk: [UInt8] = []
        for index in bytes.indices { chunk.append(bytes[index]) }
        if isDatagram { datagrams.append(chunk) } else { received += chunk }
        if consumes, !isDatagram { stream?.consumed(chunk.count) }
    }

    func receivedUrgent(_ byte: UInt8) {
        extensions.append("urgent \(byte) at \(received.count)")
        stream?.consumed(1)
    }
    func moved(to port: UInt16) { extensions.append("moved \(port)") }
    func keepAlive(after seconds: UInt16) { extensions.append("keep-alive \(seconds)") }

    func receivedEnd() { gotEnd = true }
    func streamEnded(_ code: ResetCode) { endCode = code }
}

/// One end of a session under test.
final class End: HandshakeDelegate, SessionDelegate {
    let link = MemoryLink()
    let role: Role
    private(set) var session: Session!
    var greeted: Hello?
    var end: SessionEnd?
    var accepted: [ScriptedFlow] = []
    var onOpen: (TunnelStream, ScriptedFlow) -> Void = { stream, _ in stream.acceptOpen() }
    var log: [String] = []
    var control: [(inout ByteWriter) -> Void] = [] {
        didSet { session.askForControl() }
    }

    /// - Parameter wrap: Puts a link, as a cipher, around the one in memory.
    init(
        _ role: Role, clock: @escaping () -> UInt64,
        wrap: (MemoryLink) -> any Link = { $0 }, features: Features = .ours
    ) {
        self.role = role
        var hello = Hello(
            role: role, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "", program: "")
        hello.optionalFeatures = features.rawValue
        session = Session(link: wrap(link), hello: hello, handshake: self, clock: clock)
    }

    func greeted(_ hello: Hello) {
        greeted = hello
        session.adopt(self)
    }

    /// Called when mirrors have to stand before bytes are handed on.
    var onSettle: () -> Void = {}

    func settle() { onSettle() }
    func received(_ message: ControlMessage) {
        switch message {
        case .listener(let listener): log.append("listener \(listener.id.rawValue)")
        case .listenerGone(let number): log.append("gone \(number.rawValue)")
        case .synced: log.append("sync")
        case .mirror(let mirror): log.append("mirror \(mirror.state.name)")
        case .policy(let policy): log.append("policy \(policy.udpIdle)")
        case .forward(let forward): log.append("forward \(forward.place.text)")
        case .forwardGone: log.append("forward gone")
        case .forwardState(let state): log.append("forward \(state.state.name)")
        }
    }

    func opened(_ stream: TunnelStream, _ message: OpenMessage) {
        let flow = ScriptedFlow()
        flow.isDatagram = message.transport == .udp
        flow.stream = stream
        stream.attach(flow)
        accepted.append(flow)
        onOpen(stream, flow)
    }

    func writeControl(to writer: inout ByteWriter, withWithdrawals: Bool) -> ControlTurn {
        guard !control.isEmpty else { return .nothing }
        control.removeFirst()(&writer)
        return .wrote
    }

    func handshakeEnded(_ end: SessionEnd) { self.end = end }
    func sessionEnded(_ end: SessionEnd) { self.end = end }

    func open(_ flow: ScriptedFlow, _ transport: TransportProtocol = .tcp) -> TunnelStream? {
        flow.isDatagram = transport == .udp
        let here = Endpoint(.loopbackV4, 1)
        let stream = session.open(
            ListenerID(rawValue: 1), transport, client: here, dialled: here, handler: flow)
        flow.stream = stream
        return stream
    }
}

/// Two ends and a clock that moves when told.
final class Pair {
    var now: UInt64 = 1_000
    private(set) var host: End!
    private(set) var guest: End!

    init(
        host wrapHost: (MemoryLink) -> any Link = { $0 },
        guest wrapGuest: (MemoryLink) -> any Link = { $0 },
        features: (Role) -> Features = { _ in .ours }
    ) {
        host = End(
            .host, clock: { [unowned self] in now }, wrap: wrapHost, features: features(.host))
        guest = End(
            .guest, clock: { [unowned self] in now }, wrap: wrapGuest, features: features(.guest))
    }

    func start() {
        host.session.start()
        guest.session.start()
        settle()
    }

    /// Has the host open a stream for `flow`, which sends what it has.
    ///
    /// - Returns: The stream at the host, and the guest's flow.
    func connect(_ flow: ScriptedFlow) throws -> (stream: TunnelStream, far: ScriptedFlow) {
        let stream = try #require(host.open(flow))
        _ = stream.markReady()
        settle()
        return (stream, try #require(guest.accepted.last))
    }

    /// Moves bytes until nothing moves any more, `step` bytes at a time.
    func settle(step: Int = .max) {
        for _ in 0..<100_000 {
            host.session.pump()
            guest.session.pump()
            let moved = move(host, guest, step) + move(guest, host, step)
            if moved == 0 { return }
        }
    }

    private func move(_ from: End, _ to: End, _ step: Int) -> Int {
        let count = min(step, from.link.outgoing.count)
        guard count > 0 else { return 0 }
        to.link.incoming += from.link.outgoing[..<count]
        from.link.outgoing.removeFirst(count)
        to.session.linkReadable()
        return count
    }
}
