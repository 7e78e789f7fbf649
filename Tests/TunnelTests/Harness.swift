import Addresses
import Sockets
import Testing
import Tunnel
import Wire

/// A flow that sends what it is given and remembers what came.
final class ScriptedFlow: StreamHandler {
    var toSend: [UInt8] = []
    var endsAfterSending = false
    var received: [UInt8] = []
    var datagrams: [[UInt8]] = []
    var toSendDatagrams: [[UInt8]] = []
    var isDatagram = false
    var gotEnd = false
    var wasOpened = false
    var endCode: ResetCode?
    var consumes = true
    /// Whether `received` is wanted.
    var remembers = true
    /// The session owns it, and it owns this flow.
    weak var stream: TunnelStream?

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        if isDatagram { return fillDatagram(buffer, limit: limit) }
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

    func streamOpened() { wasOpened = true }

    func received(_ bytes: Span<UInt8>) {
        guard remembers else { return }
        var chunk: [UInt8] = []
        for index in bytes.indices { chunk.append(bytes[index]) }
        if isDatagram { datagrams.append(chunk) } else { received += chunk }
        if consumes, !isDatagram { stream?.consumed(chunk.count) }
    }

    func receivedEnd() { gotEnd = true }
    func streamEnded(_ code: ResetCode) { endCode = code }
}

/// One end of a session under test.
final class End: SessionDelegate {
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
        wrap: (MemoryLink) -> any Link = { $0 }
    ) {
        self.role = role
        session = Session(
            link: wrap(link),
            hello: Hello(
                role: role, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "",
                program: ""),
            delegate: self, clock: clock)
    }

    func session(_ session: Session, greeted hello: Hello) { greeted = hello }
    func session(_ session: Session, advertised listener: ListenerMessage) {
        log.append("listener \(listener.id.rawValue)")
    }
    func session(_ session: Session, withdrew listener: ListenerID) {
        log.append("gone \(listener.rawValue)")
    }
    func sessionSynced(_ session: Session) { log.append("sync") }
    func session(_ session: Session, reported mirror: MirrorMessage) {
        log.append("mirror \(mirror.state.name)")
    }
    func session(_ session: Session, asked policy: PolicyMessage) {
        log.append("policy \(policy.udpIdle)")
    }
    func session(_ session: Session, opened stream: TunnelStream, _ message: OpenMessage) {
        let flow = ScriptedFlow()
        flow.isDatagram = message.transport == .udp
        flow.stream = stream
        stream.handler = flow
        accepted.append(flow)
        onOpen(stream, flow)
    }
    func session(_ session: Session, writeControl writer: inout ByteWriter) -> ControlTurn {
        guard !control.isEmpty else { return .nothing }
        control.removeFirst()(&writer)
        return .wrote
    }
    func session(_ session: Session, ended end: SessionEnd) { self.end = end }

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
        guest wrapGuest: (MemoryLink) -> any Link = { $0 }
    ) {
        host = End(.host, clock: { [unowned self] in now }, wrap: wrapHost)
        guest = End(.guest, clock: { [unowned self] in now }, wrap: wrapGuest)
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
