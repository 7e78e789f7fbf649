internal import Addresses
public import EventLoop
public import Listeners
public import Logging
internal import Posix
internal import Sockets
public import Tunnel
public import Wire

// # A side
//
// Host and guest run this same code. Each side
//
//     watches its own listeners and offers them           Offers
//     mirrors what the other side offers                  MirrorTable, TCPMirror, UDPMirror
//     carries flows: accepted at mirrors, dialled to its own listeners    TCPFlow, UDP…Flow
//
// What differs is policy (``MirrorPolicy``), which the host takes from its settings.

/// Counts of things that went wrong, since start.
public struct SideCounters: Equatable, Sendable {
    /// Datagrams dropped because a queue or a kernel buffer was full.
    public var datagramsDropped: UInt64 = 0
    /// UDP flows that gave way to newer ones.
    public var udpFlowsEvicted: UInt64 = 0
    /// How often accepting paused because descriptors ran out.
    public var acceptPauses: UInt64 = 0
    /// Connections reset because no stream could be opened for them.
    public var connectionsRefused: UInt64 = 0
    /// OPEN frames for listeners that are not offered.
    public var unknownListeners: UInt64 = 0
    /// Connections to listeners here that were not dialled, because descriptors ran out or there are too
    /// many UDP flows.
    public var dialsRefused: UInt64 = 0
    /// Flows that were reset because all together held too much for applications that do not read.
    public var flowsOverMemory: UInt64 = 0
    /// Listeners of the peer that were not taken note of, because it has too many.
    public var listenersDropped: UInt64 = 0
    /// Log lines about the peer's doings that were left out.
    public var logLinesSuppressed: UInt64 = 0

    /// All by name, as the control API and the log have them.
    public var named: [(name: String, count: UInt64)] {
        [
            ("datagramsDropped", datagramsDropped), ("udpFlowsEvicted", udpFlowsEvicted),
            ("acceptPauses", acceptPauses), ("connectionsRefused", connectionsRefused),
            ("unknownListeners", unknownListeners), ("dialsRefused", dialsRefused),
            ("flowsOverMemory", flowsOverMemory), ("listenersDropped", listenersDropped),
            ("logLinesSuppressed", logLinesSuppressed),
        ]
    }
}

/// One side of the mirroring. Loop thread only.
public final class Side {
    /// How long mirrors stay bound without a session, in milliseconds.
    static let outageGrace: UInt64 = 10_000
    private static let acceptPause: UInt64 = 100
    /// What is worth giving back to the kernel, in bytes.
    private static let muchHeld: UInt64 = 8 << 20

    let loop: Loop
    /// The inodes of our own sockets.
    public let own: OwnSockets
    let log: PacedLog
    /// For sessions that come and go: whoever reaches the tunnel can make them.
    private let tunnelLog: PacedLog
    let role: Role
    let hasIPv6: Bool
    private(set) var policy: MirrorPolicy
    /// The live session.
    public private(set) var session: Session?
    var counters = SideCounters()
    private var limitLog = LimitLog()
    let flows = FlowTable()
    /// What UDP flows have waiting for the tunnel.
    let queued = DatagramBudget()
    /// The most that received bytes took since memory was last given back.
    private var heldPeak: UInt64 = 0
    private let descriptorLimit = Machine.descriptorLimit
    let datagrams = DatagramBatch()
    private var sweeper: Timer?
    private var retryTimer: Timer?
    private var graceTimer: Timer?
    private var acceptTimer: Timer?
    private(set) var isAcceptPaused = false
    /// Flows that have lived through the end of a session already.
    private var outlived: Set<UInt64> = []

    /// Both are there from the end of `init` on, and refer back to this side.
    private(set) var offers: Offers!
    private(set) var mirrors: MirrorTable!

    /// Called after a session ended, so that the tunnel's owner looks for the next.
    public var onSessionEnd: (Session, SessionEnd) -> Void = { _, _ in }
    /// Called when the host asks something of this guest.
    public var onPolicy: (PolicyMessage) -> Void = { _ in }

    /// Sets up an idle side and its timers.
    ///
    /// - Parameter own: The inodes of our own sockets, shared with the watcher.
    public init(
        loop: Loop, role: Role, policy: MirrorPolicy, own: OwnSockets, log: Logger
    ) throws(LoopError) {
        self.loop = loop
        self.role = role
        self.policy = policy
        self.own = own
        self.log = PacedLog(log)
        tunnelLog = PacedLog(log, burst: 200, perSecond: 1)
        hasIPv6 = Socket.isIPv6Supported
        offers = Offers(side: self)
        mirrors = MirrorTable(side: self)
        sweeper = try Timer(loop: loop) { [unowned self] in sweep() }
        sweeper?.start(after: 1_000, every: 1_000)
        retryTimer = try Timer(loop: loop) { [unowned self] in mirrors.retry() }
        retryTimer?.start(after: 1_900, every: 1_900)
        graceTimer = try Timer(loop: loop) { [unowned self] in graceOver() }
        acceptTimer = try Timer(loop: loop) { [unowned self] in resumeAccepting() }
        try loop.onTurnEnd { [unowned self] in
            mirrors.settleDirty()
            session?.pump()
        }
    }

    private func sweep() {
        flows.sweep(now: loop.now)
        limitLog.report(counterSnapshot, now: loop.now, to: log.log)
        returnMemory()
    }

    /// After flows held much and no longer do, gives what they held back to the kernel: the allocator alone
    /// keeps it for as long as anything newer lies behind it.
    private func returnMemory() {
        let held = session?.heldBytes ?? 0
        heldPeak = max(heldPeak, session?.takeHeldPeak() ?? 0)
        guard heldPeak >= Self.muchHeld, held <= heldPeak / 2 else { return }
        heldPeak = held
        Machine.returnFreedMemory()
    }

    /// Ends all flows and mirrors.
    public func close() {
        flows.abort(.disabled)
        mirrors.removeAll()
        for timer in [sweeper, retryTimer, graceTimer, acceptTimer] { timer?.close() }
    }

    /// Logs what became of the tunnel, as often as a person can follow.
    public func noteTunnel(
        _ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata
    ) {
        tunnelLog.line(level, message, metadata)
    }

    /// How many lines about the peer's doings were left out of the log.
    var logLinesSuppressed: UInt64 { log.suppressed + tunnelLog.suppressed }

    // MARK: Events from outside

    /// The watcher saw listeners come and go.
    public func apply(_ changes: ListenerChanges) {
        offers.apply(changes)
    }

    /// The settings changed. Flows of a direction that is switched off are reset.
    public func setPolicy(_ policy: MirrorPolicy) {
        let decidesTheSame = policy.decidesTheSame(as: self.policy)
        self.policy = policy
        // A flow's idle time decides about no mirror, and a peer can change it twenty times a second.
        if decidesTheSame { return }
        if policy.mirrorsDisabled != nil { flows.abort(.disabled) { $0.info.direction == inward } }
        if policy.offersDisabled != nil { flows.abort(.disabled) { $0.info.direction != inward } }
        mirrors.settleAll()
        offers.reconsiderAll()
    }

    /// The direction of flows whose mirror is here.
    private var inward: Direction { role == .host ? .guestToHost : .hostToGuest }
    private var outward: Direction { role == .host ? .hostToGuest : .guestToHost }

    /// A session went live; this side takes it over.
    public func tunnelUp(_ session: Session) {
        self.session = session
        graceTimer?.stop()
        session.adopt(self)
        offers.sessionUp()
    }

    /// Flows that are left now have all of the peer's bytes and its end, and their applications read on. Through the
    /// end of one session, that is: a peer with many sessions could leave as much with each as one may hold.
    private func endOutlived() {
        flows.abort(.tunnelLost) { [outlived] in outlived.contains($0.info.id) }
        outlived = Set(flows.all.map(\.info.id))
    }

    private func graceOver() {
        log.log.info("mirrors closed: the tunnel stayed away")
        mirrors.removeAll()
    }

    // MARK: Clients of mirrors

    func accepted(_ socket: consuming Socket, on mirror: TCPMirror, of entry: MirrorEntry) {
        guard let session, let own = try? socket.localEndpoint().unmapped,
            let client = try? socket.peerEndpoint().unmapped
        else { return refuse(socket) }
        let target = mirrors.target(of: entry, dialled: own.address)
        guard let number = target.remote else { return refuse(socket) }
        let flow = TCPFlow(
            side: self, info: makeInfo(.tcp, entry: target, mirror: own, client: client),
            accepted: socket)
        flows.insert(flow)
        let stream = session.open(number, .tcp, client: client, dialled: own, handler: flow)
        // OPEN first: while the rest is set up here, the far side wakes up and dials.
        session.pump()
        if let stream, (try? flow.start(on: stream)) != nil { return }
        // No number is free, or epoll takes no more descriptors.
        counters.connectionsRefused += 1
        flow.abort(.limit)
    }

    private func refuse(_ socket: consuming Socket) {
        counters.connectionsRefused += 1
        socket.resetOnClose()
    }

    func openUDP(
        _ key: UDPMirror.ClientKey, on mirror: UDPMirror, of entry: MirrorEntry
    ) -> UDPClientFlow? {
        let local = key.local?.unmapped ?? mirror.planned.endpoint.address
        let target = mirrors.target(of: entry, dialled: local)
        guard let session, let number = target.remote else { return nil }
        let dialled = Endpoint(local, mirror.planned.endpoint.port)
        let client = key.client.unmapped
        let flow = UDPClientFlow(
            side: self, mirror: mirror, key: key,
            info: makeInfo(.udp, entry: target, mirror: dialled, client: client),
            idle: policy.idleLimit(port: target.key.endpoint.port))
        let stream = session.open(number, .udp, client: client, dialled: dialled, handler: flow)
        guard let stream else { return nil }
        flow.start(on: stream)
        flows.insert(flow)
        return flow
    }

    private func makeInfo(
        _ transport: TransportProtocol, entry: MirrorEntry, mirror: Endpoint, client: Endpoint
    ) -> FlowInfo {
        FlowInfo(
            id: flows.makeID(), transport: transport, direction: inward,
            listener: entry.key.endpoint.unmapped, mirror: mirror, client: client, now: loop.now,
            traffic: entry.traffic)
    }

    // MARK: Running out of descriptors

    func pauseAccepting() {
        guard !isAcceptPaused else { return }
        isAcceptPaused = true
        counters.acceptPauses += 1
        mirrors.pauseAccepting(true)
        acceptTimer?.start(after: Self.acceptPause)
    }

    private func resumeAccepting() {
        guard hasSpareDescriptor else {
            acceptTimer?.start(after: Self.acceptPause)
            return
        }
        isAcceptPaused = false
        mirrors.pauseAccepting(false)
    }

    /// Whether a descriptor is one of the last, which are not for flows and mirrors.
    func isReserved(_ descriptor: Int32) -> Bool {
        Machine.isReserved(descriptor, limit: descriptorLimit)
    }

    private var hasSpareDescriptor: Bool {
        guard let next = Socket.nextDescriptor else { return false }
        return !isReserved(next)
    }

    /// What would allow a bind that the kernel denied.
    func deniedReason(port: Port) -> String {
        "port \(port) needs CAP_NET_BIND_SERVICE or sysctl net.ipv4.ip_unprivileged_port_start<=\(port)"
    }
}

// MARK: - The session's delegate

extension Side: SessionDelegate {
    /// Not called: the endpoint greets before this side adopts the session.
    public func session(_ session: Session, greeted hello: Hello) {}

    /// A listener of the peer's.
    public func session(_ session: Session, advertised listener: ListenerMessage) {
        mirrors.advertised(listener)
    }

    /// One of the peer's listeners is gone.
    public func session(_ session: Session, withdrew listener: ListenerID) {
        mirrors.withdrew(listener)
    }

    /// The peer's set is complete.
    public func sessionSynced(_ session: Session) {
        mirrors.synced()
    }

    /// How the peer's mirror of one of our listeners fares.
    public func session(_ session: Session, reported mirror: MirrorMessage) {
        offers.reported(mirror)
    }

    /// The host's wishes, on the guest.
    public func session(_ session: Session, asked policy: PolicyMessage) {
        var mine = self.policy
        mine.udpIdle = policy.udpIdle
        setPolicy(mine)
        onPolicy(policy)
    }

    /// A client at the peer's mirror wants one of our listeners.
    public func session(
        _ session: Session, opened stream: TunnelStream, _ message: OpenMessage
    ) {
        guard let offer = offers.lookup(message.listener),
            offer.listener.key.kind.transport == message.transport
        else {
            counters.unknownListeners += 1
            return stream.refuse(.unknownListener)
        }
        dial(offer, message, stream)
    }

    private func dial(_ offer: Offer, _ message: OpenMessage, _ stream: TunnelStream) {
        let key = offer.listener.key
        // The peer's addresses serve the report and the choice of family; they are never dialled.
        let targets = AddressRules.targets(
            for: key, clientIsIPv6: message.dialled.address.unmapped.isIPv6)
        let info = FlowInfo(
            id: flows.makeID(), transport: message.transport, direction: outward,
            listener: key.endpoint.unmapped, mirror: message.dialled, client: message.client,
            now: loop.now, traffic: offer.traffic)
        switch message.transport {
        case .tcp:
            let flow = TCPFlow(side: self, info: info)
            stream.handler = flow
            flows.insert(flow)
            flow.dial(targets, for: stream)
        case .udp:
            guard flows.udpCount < FlowTable.maxUDP else {
                counters.dialsRefused += 1
                return stream.refuse(.limit)
            }
            let flow = UDPListenerFlow(
                side: self, info: info, idle: policy.idleLimit(port: key.endpoint.port))
            stream.handler = flow
            flows.insert(flow)
            flow.dial(targets, for: stream)
        }
    }

    /// Frames about listeners and mirrors, one at a time.
    public func session(
        _ session: Session, writeControl writer: inout ByteWriter
    ) -> ControlTurn {
        if mirrors.reportBacklog > 0 {
            guard offers.takePace() else { return .later }
            if let report = mirrors.nextReport() {
                report.write(to: &writer)
                return .wrote
            }
        }
        return offers.writeNext(to: &writer, of: session)
    }

    /// The session is over; its streams were told. Mirrors stay for a while.
    public func session(_ session: Session, ended end: SessionEnd) {
        guard session === self.session else { return }
        counters.flowsOverMemory += session.streamsOverBudget
        heldPeak = max(heldPeak, session.takeHeldPeak())
        self.session = nil
        endOutlived()
        mirrors.sessionLost()
        offers.sessionLost()
        graceTimer?.start(after: Self.outageGrace)
        onSessionEnd(session, end)
    }
}
