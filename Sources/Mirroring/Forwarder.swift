package import EventLoop
package import Listeners
package import Logging
package import Posix
package import Sockets
package import Tunnel
package import TwinportModel
package import Wire

// # The forwarder
//
// What one machine does for host networking. Host and guest run this same code; what differs is policy
// (``MirrorPolicy``). This is the one file that joins the parts, which know each other only in this order:
//
//     Resources, Rules  ←  Flows  ←  Mirrors (MirrorTable, its sockets, InwardFlows)
//     Rules  ←  LocalListeners  ←  MirrorTable, Advertiser  ←  OutwardFlows
//
//     watcher ──changes──▶ LocalListeners, Advertiser ──LISTENER──▶ peer       what listens here
//     peer ──LISTENER──▶ MirrorTable ──MIRROR──▶ peer                          what listens there
//     client ──▶ TCPMirror, UDPMirror ──▶ InwardFlows ──OPEN──▶ peer           flows inward
//     peer ──OPEN──▶ OutwardFlows ──▶ listener                                 flows outward

/// One machine's mirrors, offers and flows. Loop thread only.
package final class Forwarder {
    /// How long mirrors stay bound without a session, in milliseconds.
    private static let outageGrace: UInt64 = 10_000

    let resources: Resources
    let flows = FlowTable()
    let local = LocalListeners()
    let advertiser: Advertiser
    let mirrors: MirrorTable
    private let forwards: Forwards
    let journal: Journal
    /// Keeps bytes behind the listeners that they may tell of.
    package let order: OrderGate
    let role: Role
    private let inward: InwardFlows
    private let outward: OutwardFlows
    private let neighbours: NeighbourOffers
    private let places: GuestPlaces?

    /// What is mirrored and offered.
    package private(set) var policy: MirrorPolicy
    /// The live session.
    package private(set) var session: Session?
    private var pace: TokenBucket
    private var trim = MemoryTrim()
    private var timers = Timers()
    /// Called after a session ended, so that the tunnel's owner looks for the next.
    package var onSessionEnd: (Session, SessionEnd) -> Void = { _, _ in }
    /// Called when the host asks something of this guest.
    package var onPolicy: (PolicyMessage) -> Void = { _ in }

    private struct Timers {
        var sweep: Timer?
        var retry: Timer?
        var grace: Timer?
        var hold: Timer?
        /// When the mirrors close if no session begins, in milliseconds of the loop's clock.
        var graceEnds: UInt64 = 0

        func close() {
            for timer in [sweep, retry, grace, hold] { timer?.close() }
        }
    }

    /// Joins the parts and sets their timers.
    ///
    /// - Parameters:
    ///   - own: The inodes of our own sockets, shared with the watcher.
    ///   - reservedDescriptors: How many descriptors mirrors and flows leave to the rest of the process.
    ///   - others: What it shares with the forwarders of other guests; nil: there are none.
    package init(
        loop: Loop, role: Role, policy: MirrorPolicy, own: OwnSockets, log: Logger,
        reservedDescriptors: Int32 = ThisProcess.reservedDescriptors, opener: OpenerProcess? = nil,
        others: (places: GuestPlaces, descriptors: DescriptorShare)? = nil
    ) throws(SystemError) {
        self.role = role
        self.policy = policy
        resources = try Resources(
            loop: loop, own: own, reserved: reservedDescriptors, share: others?.descriptors)
        journal = Journal(role: role, log: log)
        order = OrderGate { [unowned loop] in loop.now }
        advertiser = Advertiser(policy: policy)
        neighbours = NeighbourOffers(advertiser)
        places = others?.places
        inward = InwardFlows(resources, flows, role: role, policy: policy)
        outward = OutwardFlows(resources, flows, advertiser, role: role)
        mirrors = MirrorTable(
            policy: policy, hasIPv6: Socket.isIPv6Supported,
            isHost: role == .host, local: local,
            sockets: MirrorSockets(resources, inward, others?.places),
            observer: journal,
            clock: { [unowned loop] in loop.now })
        forwards = try Forwards(
            resources, flows, role: role, policy: policy, local: local, opener: opener)
        pace = Self.fullPace(now: loop.now)
        resources.countConnections = { [unowned flows] in flows.count - flows.udpCount }
        connectForwards()
        resources.clients.disguised = { [unowned journal] in journal.clientsDisguised($0, $1) }
        wantClientAddress()
        advertiser.changed = { [unowned journal] in journal.offerChanged($0, isGone: $1) }
        try startTimers()
        places?.watch(policy.offersNeighbours)
    }

    private func connectForwards() {
        resources.acceptPauseChanged = { [unowned mirrors, unowned forwards] in
            mirrors.pauseAccepting($0)
            forwards.pauseAccepting($0)
        }
        forwards.changed = { [unowned journal] in journal.forwardChanged($0) }
        forwards.placed = { [unowned mirrors] in
            for port in $0 { mirrors.forwardChange(at: port) }
            // The forward listens next.
            mirrors.settleDirty()
        }
    }

    private func startTimers() throws(SystemError) {
        let loop = resources.loop
        timers.sweep = try Timer(loop: loop) { [unowned self] in sweep() }
        timers.sweep?.start(after: 1_000, every: 1_000)
        timers.retry = try Timer(loop: loop) { [unowned self] in mirrors.retry() }
        timers.retry?.start(after: 1_900, every: 1_900)
        timers.grace = try Timer(loop: loop) { [unowned self] in graceOver() }
        // The turn's end, which follows, pumps the session.
        timers.hold = try Timer(loop: loop) {}
        order.onHold = { [unowned self] in timers.hold?.start(after: OrderGate.longestHold) }
        order.isWanted = policy.offersDisabled == nil
        try loop.onTurnEnd { [unowned self] in turnEnded() }
    }

    /// A method, so that the closure takes hold of this object once.
    private func turnEnded() {
        mirrors.settleDirty()
        session?.pump()
        resources.done.finish()
    }

    /// Only a guest's listeners have clients on other machines: a guest's mirrors are on loopback.
    private func wantClientAddress() {
        if role == .guest { resources.clients.want(policy.clientAddress) }
    }

    private func sweep() {
        let now = resources.loop.now
        resources.clients.sweep(now: now)
        resources.questions.renew()
        resources.asking.sweep(now: now)
        flows.sweep(now: now)
        journal.limits(counters, now: now)
        trim.note(peak: session?.takeHeldPeak() ?? 0)
        if trim.isDue(held: session?.heldBytes ?? 0) { Memory.returnFreed() }
    }

    private func graceOver() {
        journal.mirrorsClosed()
        mirrors.removeAll()
        forwards.removeAll()
    }

    /// Ends all flows and mirrors.
    package func close() {
        inward.close()
        resources.done.finish()
        flows.abort(.disabled)
        mirrors.removeAll()
        forwards.close()
        timers.close()
        resources.close()
    }

    // MARK: Events from outside

    /// The watcher saw listeners come and go.
    package func apply(_ changes: ListenerChanges) {
        if changes.isFirst { advertiser.complete() }
        for change in changes.changes {
            let gone = local.apply(change)
            advertiser.apply(change)
            if case .vanished(let key) = change { neighbours.localVanished(key) }
            mirrors.localChange(change.key, gone: gone)
        }
        neighbours.apply(changes.neighbours)
        for wish in changes.wishes {
            mirrors.localWants(wish.kind, wish.endpoint, process: wish.process)
            if wish.kind == .udp { inward.moved.localWants(wish.endpoint) }
        }
        if let answer = changes.answer { order.answered(answer) }
    }

    /// Asks the watcher for a scan that begins after the call.
    package func onQuestion(_ ask: @escaping (UInt64) -> Void) {
        order.ask = ask
    }

    /// The settings changed. Flows of a direction that is switched off are reset.
    package func setPolicy(_ policy: MirrorPolicy) {
        self.policy = policy
        wantClientAddress()
        order.isWanted = policy.offersDisabled == nil
        inward.policy = policy
        if policy.mirrorsDisabled != nil {
            flows.abort(.disabled) { [role] in
                $0.info.direction == role.inward && $0.info.places == nil
            }
        }
        if policy.offersDisabled != nil {
            flows.abort(.disabled) { [role] in
                $0.info.direction != role.inward && $0.info.places == nil
            }
        }
        mirrors.setPolicy(policy)
        advertiser.setPolicy(policy)
        forwards.setPolicy(policy)
        places?.watch(policy.offersNeighbours)
    }

    /// A session went live; this forwarder takes it over.
    package func tunnelUp(_ session: Session) {
        setSession(session)
        timers.grace?.stop()
        session.adopt(self, gate: order)
        // First, so that SYNC comes behind them.
        forwards.sessionUp(session)
        advertiser.sessionUp(session)
    }

    /// The next session is another program's than the last one: it does not inherit the mirrors.
    package func ownerChanged() {
        mirrors.removeAll()
        forwards.removeAll()
    }

    private func setSession(_ session: Session?) {
        self.session = session
        inward.session = session
        journal.session = session
    }

    /// Logs what became of the tunnel, as often as a person can follow.
    package func noteTunnel(
        _ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata
    ) {
        journal.tunnel(level, message, metadata)
    }

    /// The inodes of our own sockets.
    package var own: OwnSockets { resources.own }

    // MARK: Snapshots

    /// Called with everything that happens to listeners, mirrors and limits.
    package func onEvent(_ body: @escaping (Event.Kind) -> Void) {
        journal.onEvent = body
    }

    /// All listeners of both machines, as far as they are known here.
    package func ports() -> [PortSnapshot] {
        let hasSession = session != nil
        let kept =
            hasSession
            ? 0 : Int((timers.graceEnds &- min(timers.graceEnds, resources.loop.now) + 999) / 1_000)
        return mirrors.all.map {
            PortSnapshot($0, role.inward, hasSession: hasSession, kept: kept)
        }
            + advertiser.all.map {
                PortSnapshot($0, role.outward, hasSession: session != nil)
            } + forwards.snapshots(kept: kept)
    }

    /// All flows.
    package func flowSnapshots() -> [FlowSnapshot] {
        flows.snapshots(now: resources.loop.now)
    }

    /// As whom this guest's listeners see clients elsewhere.
    package var clients: ClientView { resources.clients.view }

    /// How many flows there are.
    package var flowCount: Int { flows.count }

    /// What went wrong so far.
    package var counters: Counters {
        var counters = resources.counters
        counters.flowsOverMemory += session?.streamsOverBudget ?? 0
        counters.listenersDropped = mirrors.listenersDropped
        counters.logLinesSuppressed = journal.suppressed
        counters.orderGaps = order.gaps
        return counters
    }

    /// How fast frames about listeners and mirrors may be sent: a little below what a peer takes.
    private static func fullPace(now: UInt64) -> TokenBucket {
        TokenBucket(burst: 36_000, perSecond: 400, now: now)
    }
}

// MARK: - The session's delegate

extension Forwarder: SessionDelegate {
    /// A frame about listeners, mirrors or settings.
    package func received(_ message: ControlMessage) {
        switch message {
        case .listener(let listener): mirrors.advertised(listener)
        case .listenerGone(let listener): mirrors.withdrew(listener)
        case .synced:
            mirrors.synced()
            forwards.synced()
        case .forward(let forward): forwards.asked(forward)
        case .forwardGone(let number): forwards.gone(number)
        case .forwardState(let state): forwards.reported(state)
        case .mirror(let mirror): advertiser.reported(mirror)
        case .policy(let policy):
            var mine = self.policy
            mine.udpIdle = policy.udpIdle
            mine.clientAddress = policy.clientAddress
            setPolicy(mine)
            onPolicy(policy)
        }
    }

    /// Mirrors are bound before bytes behind their LISTENER frames are handed on.
    package func settle() {
        mirrors.settleDirty()
    }

    /// A client at the peer's mirror wants one of our listeners.
    package func opened(_ stream: TunnelStream, _ message: OpenMessage) {
        if message.listener.isForward { return forwards.opened(stream, message) }
        outward.opened(stream, message)
    }

    /// Frames about listeners and mirrors, one at a time.
    package func writeControl(to writer: inout ByteWriter, withWithdrawals: Bool) -> ControlTurn {
        if forwards.hasNews {
            guard takePace() else { return .later }
            if forwards.writeNext(to: &writer) { return .wrote }
        }
        if mirrors.hasReport {
            guard takePace() else { return .later }
            if let report = mirrors.nextReport() {
                report.write(to: &writer)
                return .wrote
            }
        }
        return advertiser.writeNext(
            to: &writer, withWithdrawals: withWithdrawals, takePace: takePace)
    }

    private func takePace() -> Bool { pace.take(now: resources.loop.now) }

    /// The session is over; its streams were told. Mirrors stay for a while.
    package func sessionEnded(_ end: SessionEnd) {
        guard let session else { return }
        resources.counters.flowsOverMemory += session.streamsOverBudget
        trim.note(peak: session.takeHeldPeak())
        setSession(nil)
        order.sessionLost()
        flows.abortSurvivors()
        mirrors.sessionLost()
        forwards.sessionLost()
        advertiser.sessionLost()
        pace = Self.fullPace(now: resources.loop.now)
        timers.graceEnds = resources.loop.now &+ Self.outageGrace
        timers.grace?.start(after: Self.outageGrace)
        onSessionEnd(session, end)
    }
}
