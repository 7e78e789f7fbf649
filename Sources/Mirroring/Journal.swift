internal import Logging
internal import Tunnel
internal import TwinportModel
internal import Wire

/// Writes down what happens: log lines, as many as a person can follow, and events, all of them. Loop thread only.
final class Journal {
    private let role: Role
    /// For the peer's listeners.
    private let log: PacedLog
    /// For sessions that come and go: anything that reaches the tunnel can make them.
    private let tunnelLog: PacedLog
    private var limits = LimitLog()
    /// Called with every event.
    var onEvent: (Event.Kind) -> Void = { _ in }
    /// The live session, which is asked to send reports.
    var session: Session?

    init(role: Role, log: Logger) {
        self.role = role
        self.log = PacedLog(log)
        tunnelLog = PacedLog(log, burst: 200, perSecond: 1)
    }

    /// How many lines about the peer's doings were left out.
    var suppressed: UInt64 { log.suppressed + tunnelLog.suppressed }

    /// Writes a line about the tunnel.
    func tunnel(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) {
        tunnelLog.line(level, message, metadata)
    }

    /// The tunnel stayed away, and mirrors were closed.
    func mirrorsClosed() {
        log.log.info("mirrors closed: the tunnel stayed away")
        onEvent(.mirrorsClosed)
    }

    /// Says which limits were reached, once a minute each.
    func limits(_ counters: Counters, now: UInt64) {
        for reached in limits.news(counters, now: now) {
            log.log.warning(
                "limit", metadata: ["counter": "\(reached.name)", "times": "\(reached.times)"])
            onEvent(.limit(counter: reached.name, times: reached.times))
        }
    }

    /// Listeners here do not see the addresses of clients elsewhere that they should.
    func clientsDisguised(_ instead: ClientAddress, _ why: String) {
        log.log.warning(
            "listeners do not see the addresses of clients on other machines",
            metadata: ["instead": "\(instead.rawValue)", "reason": "\(why)"])
    }

    /// A forward fares otherwise.
    func forwardChanged(_ row: PortSnapshot) {
        log.info(
            "forward",
            metadata: [
                "forward": "\(row.forward?.place.number ?? 0)", "service": "\(row.listenerText)",
                "socket": "\(row.forward?.socket ?? "")", "state": "\(row.state.name)",
                "reason": "\(row.reason.text)",
            ])
        onEvent(.port(row))
    }

    /// A listener of this machine changed.
    func offerChanged(_ offer: Offer, isGone: Bool) {
        let key = offer.listener.key
        if isGone {
            onEvent(.portGone(role.outward, key.kind, key.endpoint.unmapped))
        } else {
            onEvent(.port(PortSnapshot(offer, role.outward, hasSession: session != nil)))
        }
    }
}

extension Journal: MirrorTableObserver {
    func mirrorChanged(_ entry: MirrorEntry) {
        log.info(
            "mirror",
            metadata: [
                "listener": "\(entry.key.endpoint)", "kind": "\(entry.key.kind.name)",
                "state": "\(entry.outcome.state.name)", "reason": "\(entry.outcome.reason.text)",
                "mirror": "\(entry.mirrors.map(\.description).joined(separator: ","))",
            ])
        onEvent(.port(PortSnapshot(entry, role.inward, hasSession: session != nil)))
    }

    func ownerChanged(_ entry: MirrorEntry) {
        onEvent(.port(PortSnapshot(entry, role.inward, hasSession: session != nil)))
    }

    func mirrorGone(_ entry: MirrorEntry) {
        log.info(
            "listener gone",
            metadata: ["listener": "\(entry.key.endpoint)", "kind": "\(entry.key.kind.name)"])
        onEvent(.portGone(role.inward, entry.key.kind, entry.key.endpoint.unmapped))
    }

    func reportsWait() {
        session?.askForControl()
    }
}

extension PortSnapshot {
    /// A listener of the peer, and its mirror here.
    ///
    /// - Parameter kept: How many seconds mirrors stay bound without a session.
    init(_ entry: MirrorEntry, _ direction: Direction, hasSession: Bool, kept: Int = 0) {
        var outcome = entry.outcome
        // Bound, but a client is reset: nobody there has claimed the listener in this session.
        if entry.listenerID == nil, [.active, .covered].contains(outcome.state) {
            outcome.state = .pending
            outcome.reason =
                hasSession ? .none : kept > 0 ? .tunnelDownKept(seconds: kept) : .tunnelDown
        }
        self.init(
            direction: direction, kind: entry.key.kind, listener: entry.key.endpoint.unmapped,
            mirrors: entry.mirrors, state: outcome.state, reason: outcome.reason,
            owner: entry.owner.text, container: entry.owner.container,
            flows: entry.traffic.flows, bytesIn: entry.traffic.bytesIn,
            bytesOut: entry.traffic.bytesOut)
        uid = entry.owner.uid
        published = entry.owner.published
        rule = entry.rule?.place
        if !published.isEmpty { noteFailures(entry.traffic) }
    }

    /// A listener of this machine, and what the peer said of its mirror.
    init(_ offer: Offer, _ direction: Direction, hasSession: Bool) {
        let listener = offer.listener
        var state = MirrorState.pending
        var reason = hasSession ? Reason.none : .tunnelDown
        if let withheld = offer.withheld {
            (state, reason) = withheld
        } else if let mirror = offer.mirror {
            (state, reason) = (mirror.message.state, mirror.reason)
        }
        self.init(
            direction: direction, kind: listener.key.kind,
            listener: listener.key.endpoint.unmapped,
            mirrors: offer.mirror?.message.addresses ?? [],
            state: state, reason: reason, owner: listener.owner?.text ?? "",
            container: listener.owner?.container, flows: offer.traffic.flows,
            bytesIn: offer.traffic.bytesIn, bytesOut: offer.traffic.bytesOut)
        uid = listener.uid
        published = listener.published?.rule ?? ""
        rule = offer.rule
        if !published.isEmpty { noteFailures(offer.traffic) }
    }

    /// Says that nobody answers behind a mirror that is there. A socket that listens is gone then; where a rule, or a
    /// forward, leads to another machine's, nothing but the connections tells.
    mutating func noteFailures(_ traffic: Traffic) {
        guard state == .active, reason == .none, traffic.failures > 0 else { return }
        reason = .targetFails(traffic.failures)
    }
}
