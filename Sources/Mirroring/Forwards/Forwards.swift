internal import DequeModule
internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

// # Forwards
//
// Pairs of places that the host's settings name. One side listens for programs, the other one has the service. The host
// gives each forward a number and tells its guest the guest's end, never its own:
//
//     host ──FORWARD 3: listen at unix:///run/host-services/ssh-auth.sock──▶ guest
//     host ──FORWARD_STATE 3: active (my service is there)──▶ guest: makes the socket
//     guest ──FORWARD_STATE 3: active (my socket is there)──▶ host
//     guest ──OPEN 3──▶ host: dials what its settings say of 3
//
// The side that listens has a socket only while the other one says that its service is there: programs then see what they
// would see on one machine, no file and no port. Both ends are looked at four times a second, because a Unix socket that
// comes or goes says nothing; nothing connects to a service to see whether it lives, which would start it (systemd.socket).
//
// The place of a TCP socket is claimed before it is there (`claimPlaces`): mirrors stand around it, for somebody wrote it down.

/// All forwards as one side sees them. Loop thread only.
final class Forwards {
    /// The most that a guest takes part in; the settings permit as many.
    private static let most = 64
    private static let lookEvery: UInt64 = 250

    let resources: Resources
    private let role: Role
    let local: LocalListeners
    let maker: SocketMaker
    let flows: ForwardFlows
    var entries: [ForwardEntry] = []
    private var withdrawn = Deque<ListenerID>()
    var counts = (number: UInt32(0), looks: 0)
    var policy: MirrorPolicy
    var session: Session?
    private var timer: Timer?
    /// Told when a forward's state, as reports have it, is another.
    var changed: (PortSnapshot) -> Void = { _ in }
    /// Told when places of this machine were taken for forwards, or given back: mirrors there give way.
    var placed: (Set<Port>) -> Void = { _ in }

    init(
        _ resources: Resources, _ table: FlowTable, role: Role, policy: MirrorPolicy,
        local: LocalListeners, opener: OpenerProcess?
    ) throws(SystemError) {
        self.resources = resources
        self.role = role
        self.policy = policy
        self.local = local
        maker = try SocketMaker(loop: resources.loop, opener: opener)
        flows = ForwardFlows(resources, table, maker)
        timer = try Timer(loop: resources.loop) { [unowned self] in lookAround() }
        setPolicy(policy)
    }

    /// Ends all of it.
    func close() {
        for entry in entries { closeListener(of: entry) }
        entries = []
        maker.close()
        timer?.close()
    }

    // MARK: The settings

    /// The policy is another.
    func setPolicy(_ policy: MirrorPolicy) {
        let wasDisabled = self.policy.forwardsDisabled != nil
        self.policy = policy
        if role == .host { take(policy.forwards) }
        let isDisabled = policy.forwardsDisabled != nil
        for entry in entries where isDisabled && !wasDisabled { stop(entry) }
        for entry in entries where wasDisabled && !isDisabled { announce(entry) }
        settleAll()
    }

    /// Goes over to another list. What is in both stays as it is.
    private func take(_ list: [Forward]) {
        var old = entries
        entries = list.map { forward in
            let part = ForwardPart(forward, role)
            let view = ForwardView(forward)
            guard let at = old.firstIndex(where: { $0.part == part && $0.view.isSame(as: view) })
            else {
                let entry = ForwardEntry(forward)
                announce(entry)
                return entry
            }
            let entry = old.remove(at: at)
            if entry.view.place.number != view.place.number, entry.number != nil {
                entry.news.isAskDue = true
            }
            entry.view = view
            return entry
        }
        for entry in old {
            stop(entry)
            var row = PortSnapshot(entry, .init(state: .disabled))
            row.reason = .other("the settings do not have it any more")
            changed(row)
        }
        session?.askForControl()
        watch()
    }

    /// Claims the places where forwards listen before they do.
    func claimPlaces() {
        let isDisabled = policy.forwardsDisabled != nil
        let wanted = isDisabled ? [] : entries.compactMap(LocalListeners.ForwardSocket.init)
        let ports = local.setForwards(wanted)
        if !ports.isEmpty { placed(ports) }
    }

    private func watch() {
        if entries.isEmpty { timer?.stop() } else { timer?.start(after: 0, every: Self.lookEvery) }
    }

    /// Gives a forward its number in the session.
    private func announce(_ entry: ForwardEntry) {
        guard peerKnows, policy.forwardsDisabled == nil, role == .host, entry.number == nil else {
            return
        }
        counts.number &+= 1
        entry.number = ListenerID(forward: counts.number)
        entry.news.isAskDue = true
        entry.news.isStateDue = entry.own.state != .pending
        session?.askForControl()
    }

    /// Ends a forward that is not wanted any more, and its flows.
    private func stop(_ entry: ForwardEntry) {
        if let number = entry.number { withdrawn.append(number) }
        entry.sessionLost()
        closeListener(of: entry)
        flows.abort(of: entry)
        session?.askForControl()
    }

    // MARK: The session

    private var peerKnows: Bool { session?.peer?.features.contains(.forwards) == true }

    /// A session went live.
    func sessionUp(_ session: Session) {
        sessionLost()
        self.session = session
        flows.session = session
        for entry in entries { announce(entry) }
        settleAll()
    }

    /// The session is over. Sockets stay for a while.
    func sessionLost() {
        session = nil
        flows.session = nil
        withdrawn.removeAll()
        for entry in entries { entry.sessionLost() }
        settleAll()
    }

    /// The tunnel stayed away, or the next session is another program's.
    func removeAll() {
        for entry in entries { closeListener(of: entry) }
        if role == .guest { entries = [] }
        settleAll()
    }

    /// The host's set is complete: a guest drops what was not claimed.
    func synced() {
        guard role == .guest else { return }
        for entry in entries where entry.number == nil { closeListener(of: entry) }
        entries.removeAll { $0.number == nil }
        claimPlaces()
        watch()
    }

    // MARK: What the peer says

    /// A host asks this guest for one end.
    func asked(_ message: ForwardMessage) {
        let part = ForwardPart(message)
        let known = entries.first { $0.number == message.id }
        if let known, known.part != part { gone(message.id) }
        // Of an earlier session, or the same again.
        let entry = entries.first {
            $0.number == message.id || ($0.number == nil && $0.part == part)
        }
        if let entry {
            entry.view = ForwardView(message)
            entry.number = message.id
            entry.news.isStateDue = entry.own.state != .pending
        } else if entries.count < Self.most {
            let entry = ForwardEntry(message)
            entry.number = message.id
            entries.append(entry)
            if !policy.forwardAllowance.allows(message.place) {
                entry.local.isRefused = true
                entry.find(.init(state: .denied, reason: .forward(.notAllowed)))
            }
            watch()
        }
        session?.askForControl()
        settleAll()
    }

    /// The host does not want it any more.
    func gone(_ number: ListenerID) {
        guard role == .guest, let at = entries.firstIndex(where: { $0.number == number }) else {
            return
        }
        let entry = entries.remove(at: at)
        closeListener(of: entry)
        flows.abort(of: entry)
        claimPlaces()
    }

    /// How the other side's end fares.
    func reported(_ message: ForwardStateMessage) {
        guard let entry = entries.first(where: { $0.number == message.id }) else { return }
        entry.peer = ForwardOutcome(told: message, of: entry)
        settle(entry)
    }

    /// A program connected at the other end.
    func opened(_ stream: TunnelStream, _ message: OpenMessage) {
        guard let entry = entries.first(where: { $0.number == message.listener }),
            !entry.part.listens, !entry.local.isRefused, policy.forwardsDisabled == nil,
            message.transport == .tcp
        else {
            resources.counters.unknownListeners += 1
            return stream.refuse(.unknownListener)
        }
        flows.dial(entry, stream, message) { [unowned self, weak entry] in
            guard let entry else { return }
            entry.local.noteRefusal(now: resources.loop.now)
            look(at: entry)
        }
    }

    // MARK: What the peer is told

    /// Whether there is something to tell.
    var hasNews: Bool {
        !withdrawn.isEmpty || entries.contains { $0.news.isAskDue || $0.news.isStateDue }
    }

    /// Writes the next frame, if one is due.
    func writeNext(to writer: inout ByteWriter) -> Bool {
        if let number = withdrawn.popFirst() {
            Frames.writeForwardGone(number, to: &writer)
            return true
        }
        for entry in entries {
            guard let number = entry.number else { continue }
            if entry.news.isAskDue {
                entry.news.isAskDue = false
                ForwardMessage(entry, number)?.write(to: &writer)
                return true
            }
            if entry.news.isStateDue {
                entry.news.isStateDue = false
                let told = told(entry.own)
                ForwardStateMessage(id: number, state: told.state, reason: told.reason.text)
                    .write(to: &writer)
                return true
            }
        }
        return false
    }

    /// A guest does not learn what is at which path of the host.
    private func told(_ outcome: ForwardOutcome) -> ForwardOutcome {
        guard role == .host, !policy.tellsOwners, outcome.reason != .none else { return outcome }
        return .init(state: outcome.state, reason: .untold)
    }

    // MARK: Reports

    func conditions(kept: Int = 0) -> ForwardConditions {
        ForwardConditions(
            disabled: policy.forwardsDisabled, hasSession: session != nil, peerKnows: peerKnows,
            kept: kept)
    }

    func tell(_ entry: ForwardEntry) {
        let outcome = conditions().outcome(of: entry)
        guard outcome != entry.news.told else { return }
        entry.news.told = outcome
        changed(PortSnapshot(entry, outcome))
    }

    /// All of them.
    ///
    /// - Parameter kept: For how many seconds sockets stay without a session.
    func snapshots(kept: Int) -> [PortSnapshot] {
        let conditions = conditions(kept: kept)
        return entries.map { PortSnapshot($0, conditions.outcome(of: $0)) }
    }
}
