internal import Addresses
internal import DequeModule
internal import EventLoop
internal import Listeners
internal import Tunnel
internal import Wire

/// One listener of this machine.
final class Offer {
    var listener: Listener
    /// Its number in the live session, once it is to be advertised there.
    var number: ListenerID?
    /// Whether LISTENER was sent for `number`.
    var isAdvertised = false
    var isQueued = false
    /// What the peer's mirror table said last; nil before it did.
    var mirror: MirrorMessage?
    /// Why it is not offered, as a state for the report.
    var withheld: (state: MirrorState, reason: String)?
    let traffic = Traffic()
    /// Whether a mirror can stand for it at all; others are advertised for the report only.
    let isCarried: Bool

    init(_ listener: Listener) {
        self.listener = listener
        if case .sockets = AddressRules.plan(for: listener.key, bind: .loopback, hasIPv6: true) {
            isCarried = true
        } else {
            isCarried = false
        }
    }
}

/// This machine's listeners: what the watcher saw, what of it is offered to the peer, and what the peer
/// made of it. A stream is dialled by looking its number up here, and nowhere else.
///
/// Advertising is paced a little below what a peer tolerates, together with the reports on its listeners, so a
/// machine whose listeners come and go wildly is slow to be mirrored rather than cut off; changes that undo each
/// other are never sent.
final class Offers {
    private unowned let side: Side
    private var offers: [ListenerKey: Offer] = [:]
    private var holders: [MirrorGroup: [Offer]] = [:]
    private var byNumber: [ListenerID: Offer] = [:]
    private var nextNumber: UInt32 = 1
    private var queue = Deque<Offer>()
    private var withdrawn = Deque<ListenerID>()
    private var pace: TokenBucket
    /// Whether the watcher's first scan is in, and whether SYNC followed the set in this session.
    private var isComplete = false
    private var isSynced = false
    private var session: Session? { side.session }

    init(side: Side) {
        self.side = side
        pace = Self.fullPace(now: side.loop.now)
    }

    var all: [Offer] { Array(offers.values) }

    // MARK: What the watcher says

    func apply(_ changes: ListenerChanges) {
        if changes.isFirst {
            isComplete = true
            session?.askForControl()
        }
        for change in changes.changes {
            switch change {
            case .appeared(let listener): add(listener)
            case .updated(let listener): update(listener)
            case .vanished(let key): remove(key)
            }
        }
    }

    private func add(_ listener: Listener) {
        if offers[listener.key] != nil { return update(listener) }
        let offer = Offer(listener)
        offers[listener.key] = offer
        holders[group(of: listener.key), default: []].append(offer)
        consider(offer)
        side.mirrors.localChange(listener.key)
    }

    private func update(_ listener: Listener) {
        guard let offer = offers[listener.key] else { return add(listener) }
        offer.listener = listener
        if offer.number != nil { enqueue(offer) }
        side.mirrors.localChange(listener.key)
    }

    private func remove(_ key: ListenerKey) {
        guard let offer = offers.removeValue(forKey: key) else { return }
        let group = group(of: key)
        holders[group]?.removeAll { $0 === offer }
        if holders[group]?.isEmpty == true { holders[group] = nil }
        withdraw(offer)
        side.mirrors.localChange(key)
    }

    private func group(of key: ListenerKey) -> MirrorGroup {
        MirrorGroup(kind: key.kind, port: key.endpoint.port)
    }

    /// The real listener here that is in the way of a mirror's socket, if one is known.
    func holder(of planned: PlannedSocket, kind: SocketKind) -> Listener? {
        holders[MirrorGroup(kind: kind, port: planned.endpoint.port)]?.first { offer in
            let key = offer.listener.key
            let other = PlannedSocket(endpoint: key.endpoint.unmapped, isV6Only: key.blocksOnlyV6)
            return planned.covers(other) || other.covers(planned)
        }?.listener
    }

    // MARK: What is offered

    /// The policy changed.
    func reconsiderAll() {
        for offer in offers.values { consider(offer) }
    }

    private func consider(_ offer: Offer) {
        offer.withheld = objection(to: offer.listener.key)
        guard offer.withheld == nil else { return withdraw(offer) }
        guard session != nil, offer.number == nil else { return }
        let number = ListenerID(rawValue: nextNumber)
        nextNumber &+= 1
        offer.number = number
        byNumber[number] = offer
        enqueue(offer)
    }

    private func objection(to key: ListenerKey) -> (MirrorState, String)? {
        let policy = side.policy
        if !policy.offersUnsupported {
            let plan = AddressRules.plan(for: key, bind: .loopback, hasIPv6: true)
            if case .unsupported(let why) = plan { return (.unsupported, why) }
        }
        if let why = policy.offersDisabled { return (.disabled, why) }
        if let transport = key.kind.transport,
            let rule = policy.offerIgnore.first(matching: transport, key.endpoint.port)
        {
            return (.ignored, rule.text)
        }
        return nil
    }

    private func withdraw(_ offer: Offer) {
        offer.mirror = nil
        guard let number = offer.number else { return }
        byNumber[number] = nil
        offer.number = nil
        if offer.isAdvertised {
            withdrawn.append(number)
            session?.askForControl()
        }
        offer.isAdvertised = false
    }

    private func enqueue(_ offer: Offer) {
        guard !offer.isQueued else { return }
        offer.isQueued = true
        queue.append(offer)
        session?.askForControl()
    }

    // MARK: The session

    func sessionUp() {
        sessionLost()
        isSynced = false
        reconsiderAll()
    }

    func sessionLost() {
        for offer in offers.values {
            offer.number = nil
            offer.isAdvertised = false
            offer.isQueued = false
            offer.mirror = nil
        }
        byNumber = [:]
        queue.removeAll()
        withdrawn.removeAll()
        pace = Self.fullPace(now: side.loop.now)
    }

    private static func fullPace(now: UInt64) -> TokenBucket {
        TokenBucket(burst: 36_000, perSecond: 400, now: now)
    }

    /// Whether one more frame about listeners or mirrors may be sent now; it counts as sent.
    func takePace() -> Bool { pace.take(now: side.loop.now) }

    /// Writes the next LISTENER or LISTENER_GONE.
    ///
    /// - Returns: What became of it; `later` when the pace does not allow it now.
    func writeNext(to writer: inout ByteWriter, of session: Session) -> ControlTurn {
        while let offer = queue.first, !mayAdvertise(offer, session) {
            queue.removeFirst()
            offer.isQueued = false
        }
        guard !queue.isEmpty || !withdrawn.isEmpty else {
            syncIfDone(session)
            return .nothing
        }
        guard takePace() else { return .later }
        if let number = withdrawn.popFirst() {
            Frames.writeGone(number, to: &writer)
            return .wrote
        }
        return writeFirstOffer(to: &writer)
    }

    /// Whether an offer still has a number, and the peer takes one more.
    private func mayAdvertise(_ offer: Offer, _ session: Session) -> Bool {
        guard offer.number != nil else { return false }
        if offer.isAdvertised || byNumber.count <= Int(session.peer?.maxListeners ?? 0) * 2 {
            return true
        }
        withhold(offer)
        return false
    }

    private func writeFirstOffer(to writer: inout ByteWriter) -> ControlTurn {
        let offer = queue.removeFirst()
        offer.isQueued = false
        guard let number = offer.number else { return .later }
        offer.isAdvertised = true
        let listener = offer.listener
        ListenerMessage(
            id: number, kind: listener.key.kind.rawValue, isV6Only: listener.key.isV6Only,
            endpoint: listener.key.endpoint.unmapped, uid: listener.uid,
            owner: listener.owner.map { "\($0.pid)/\($0.command)" } ?? "",
            container: listener.owner?.container?.text ?? ""
        ).write(to: &writer)
        return .wrote
    }

    private func withhold(_ offer: Offer) {
        offer.withheld = (.limit, "more listeners than the peer takes")
        withdraw(offer)
    }

    private func syncIfDone(_ session: Session) {
        guard isComplete, !isSynced else { return }
        isSynced = true
        session.sendSync()
    }

    /// The offer a stream asks for: one that was advertised under this number, and that can be mirrored.
    func lookup(_ number: ListenerID) -> Offer? {
        guard let offer = byNumber[number], offer.isAdvertised, offer.isCarried else { return nil }
        return offer
    }

    /// The peer tells how a mirror fares.
    func reported(_ message: MirrorMessage) {
        byNumber[message.id]?.mirror = message
    }
}

extension ListenerKey {
    /// Whether a socket bound like this leaves IPv4 alone.
    fileprivate var blocksOnlyV6: Bool {
        endpoint.address.isIPv6 && (isV6Only || endpoint.address != .anyV6)
    }
}
