internal import TwinportModel
internal import Wire

// # The mirror table
//
// What stands here for each of the peer's listeners. One function, `settle`, brings a group (all
// listeners on one protocol and port) from any state to the right one; every event just asks for it:
//
//     listener came or went · policy changed · local port seen free · 2 s passed
//
// Settling waits for the end of the loop's turn: whatever the peer sent until then about a group costs one
// settling. That is what keeps a peer from buying work with frames, and why listeners that could never be
// mirrored (an interface's address, a raw socket) are in no group at all.
//
// ## Precedence within a group
//
// Broad before narrow, early before late. A planned socket that an earlier one of the group covers is not
// bound: its listener is `covered`, and promoted when the wildcard goes. When the wildcard itself cannot
// be bound (a real listener is in the way), it covers nothing.
//
// ## Outages
//
// An entry is known by its listener's key, not by its number in a session. While the tunnel is away the
// sockets stay bound for 10 s (new clients are reset); afterwards everything is advertised anew, finds
// its old entry and keeps its socket. SYNC tells which entries were not claimed again.

// The table knows neither sockets nor the loop: sockets come from a ``MirrorSocketFactory``, time from a
// closure. What the peer says is in this file, settling in MirrorTable+Settling.

/// The peer's listeners and their mirrors. Loop thread only.
final class MirrorTable {
    /// How many listeners of a peer are mirrored, and how many are remembered at all.
    static let maxMirrored = 8_192
    static let maxKnown = 16_384
    /// How many listeners on one protocol and port are mirrored. Loopback has 16 million addresses.
    static let maxInGroup = 256

    let local: LocalListeners
    let sockets: any MirrorSocketFactory
    let hasIPv6: Bool
    /// How many connections, and flows of UDP, make a suspicion of a loop.
    private let suspicion: (connections: Int, datagrams: Int)
    /// Milliseconds of the loop's clock.
    let clock: () -> UInt64
    let observer: any MirrorTableObserver
    /// Mirrors at other ports than their listeners'.
    let remaps = Remaps()

    private var entries: [ListenerKey: MirrorEntry] = [:]
    private var byNumber: [ListenerID: MirrorEntry] = [:]
    var groups: [PortGroup: [MirrorEntry]] = [:]
    private var reports = ReportQueue()
    var pending = Pending()
    var holds = PortHolds()
    var policy: MirrorPolicy
    private var counts = Counts()

    /// Groups that wait to be settled.
    struct Pending {
        /// At the end of this turn of the loop.
        var dirty: Set<PortGroup> = []
        /// Groups that were full and are not any more: listeners that found them full join at the next retry.
        var roomy: Set<PortGroup> = []
        /// Groups to be tried again, as far as the last retry did not come to them.
        var retries: [PortGroup] = []
        /// What may be spent on searches for free ports.
        var looks = LookBudget()
    }

    private struct Counts {
        var nextSequence: UInt64 = 0
        /// Entries that have a socket. Counting them anew for each listener would cost a peer's 16,384 listeners
        /// squared.
        var mirrored = 0
        /// Listeners of the peer that were not recorded.
        var dropped: UInt64 = 0
    }

    init(
        policy: MirrorPolicy, hasIPv6: Bool, isHost: Bool = false, local: LocalListeners,
        sockets: any MirrorSocketFactory, observer: any MirrorTableObserver,
        clock: @escaping () -> UInt64
    ) {
        self.policy = policy
        self.hasIPv6 = hasIPv6
        suspicion =
            isHost
            ? (LoopWatch.suspicion.host, DatagramLoopWatch.suspicion.host)
            : (LoopWatch.suspicion.guest, DatagramLoopWatch.suspicion.guest)
        self.local = local
        self.sockets = sockets
        self.observer = observer
        self.clock = clock
    }

    var all: [MirrorEntry] { Array(entries.values) }

    /// How many MIRROR frames wait, and entries that are gone in between.
    var reportBacklog: Int { reports.count }

    /// Whether a MIRROR frame waits.
    var hasReport: Bool { reports.hasNext() }

    /// Listeners of the peer that were not recorded, because it has too many.
    var listenersDropped: UInt64 { counts.dropped }

    /// How many entries have a socket.
    var mirrored: Int { counts.mirrored }

    /// Changes an entry's sockets, and counts.
    func change<Result>(_ entry: MirrorEntry, _ body: (MirrorEntry) -> Result) -> Result {
        let before = entry.sockets.isEmpty ? 0 : 1
        defer {
            counts.mirrored += (entry.sockets.isEmpty ? 0 : 1) - before
            remaps.moved(entry)
        }
        return body(entry)
    }

    // MARK: What the peer says

    func advertised(_ message: ListenerMessage) {
        guard let kind = SocketKind(rawValue: message.kind) else { return }
        let key = ListenerKey(
            kind: kind, endpoint: message.endpoint,
            isV6Only: message.isV6Only && message.endpoint.address == .anyV6)
        guard let entry = entry(for: key, message) else { return }
        // A number that now means another socket: what it meant is gone.
        if let other = byNumber[message.id], other !== entry { remove(other) }
        setOwner(of: entry, message)
        setReach(of: entry, message)
        setPlacement(of: entry, message)
        guard entry.listenerID != message.id else { return }
        entry.listenerID = message.id
        byNumber[message.id] = entry
        queueReport(entry)
    }

    /// The entry of a listener, made if it is new; nil when there are too many.
    private func entry(for key: ListenerKey, _ message: ListenerMessage) -> MirrorEntry? {
        let traits = SocketTraits(
            obstacle: message.obstacle.isEmpty ? nil : Reason(text: message.obstacle),
            sharesPort: message.sharesPort && key.kind == .udp)
        if let known = entries[key], known.traits != traits { remove(known) }
        if let known = entries[key] {
            if let number = known.listenerID, number != message.id { byNumber[number] = nil }
            return known
        }
        guard entries.count < Self.maxKnown else {
            counts.dropped += 1
            return nil
        }
        let entry = MirrorEntry(
            key: key, traits: traits, sequence: counts.nextSequence, since: clock(),
            owner: MirrorEntry.Owner(message), isLoopbackOnly: message.isLoopbackOnly,
            loop: makeLoopWatch(key))
        counts.nextSequence += 1
        entries[key] = entry
        remaps.note(key, isGone: false)
        join(entry)
        return entry
    }

    private func makeLoopWatch(_ key: ListenerKey) -> LoopWatch {
        let watch = LoopWatch(
            suspicion: suspicion.connections, datagramSuspicion: suspicion.datagrams)
        watch.proved = { [unowned self] in pending.dirty.insert(PortGroup(of: key)) }
        return watch
    }

    private func setOwner(of entry: MirrorEntry, _ message: ListenerMessage) {
        let owner = MirrorEntry.Owner(message)
        let decides =
            (entry.owner.container == nil) != (owner.container == nil)
            || entry.owner.text.isEmpty != owner.text.isEmpty
            || (entry.owner != owner && policy.mirrorRules.areAboutOwners)
        let isNews = entry.owner != owner
        if entry.loop.isLoop, !entry.owner.text.isEmpty, entry.owner.text != owner.text {
            // Another process has the port now.
            entry.loop = makeLoopWatch(entry.key)
            pending.dirty.insert(entry.group)
        }
        entry.owner = owner
        if isNews { observer.ownerChanged(entry) }
        // Whether it is a container's may decide where it is mirrored, and whether.
        if decides, entry.isInGroup {
            pending.dirty.insert(entry.group)
        }
    }

    private func setReach(of entry: MirrorEntry, _ message: ListenerMessage) {
        guard entry.isLoopbackOnly != message.isLoopbackOnly else { return }
        entry.isLoopbackOnly = message.isLoopbackOnly
        if entry.isInGroup { pending.dirty.insert(entry.group) }
    }

    private func setPlacement(of entry: MirrorEntry, _ message: ListenerMessage) {
        guard entry.placement != message.placement else { return }
        entry.placement = message.placement
        entry.finding = nil
        entry.backoff = RebindBackoff()
        if entry.isInGroup { pending.dirty.insert(entry.group) }
    }

    /// Puts an entry into its group; one that no policy could mirror gets its verdict at once.
    func join(_ entry: MirrorEntry) {
        if let why = entry.traits.obstacle { return report(entry, .unsupported, why) }
        let plan = AddressRules.plan(for: entry.key, bind: .same, hasIPv6: true)
        if case .unsupported(let why) = plan { return report(entry, .unsupported, why) }
        let members = groups[entry.group]?.count ?? 0
        guard members < Self.maxInGroup else {
            return report(entry, .limit, .tooManyOnPort(Self.maxInGroup))
        }
        groups[entry.group, default: []].append(entry)
        entry.isInGroup = true
        pending.dirty.insert(entry.group)
    }

    func withdrew(_ number: ListenerID) {
        guard let entry = byNumber.removeValue(forKey: number) else { return }
        remove(entry)
    }

    /// The peer's set is complete: what it did not claim is gone.
    func synced() {
        for entry in all where entry.listenerID == nil { remove(entry) }
    }

    /// The tunnel is away: numbers mean nothing any more.
    func sessionLost() {
        for entry in entries.values { entry.listenerID = nil }
        byNumber = [:]
        reports.removeAll()
    }

    /// The tunnel stayed away.
    func removeAll() {
        for entry in all { remove(entry) }
    }

    private func remove(_ entry: MirrorEntry) {
        change(entry) { $0.closeSockets() }
        if let number = entry.listenerID { byNumber[number] = nil }
        entry.listenerID = nil
        entries[entry.key] = nil
        remaps.note(entry.key, isGone: true)
        if entry.isInGroup {
            if groups[entry.group]?.count == Self.maxInGroup { pending.roomy.insert(entry.group) }
            groups[entry.group]?.removeAll { $0 === entry }
            if groups[entry.group]?.isEmpty == true { groups[entry.group] = nil }
            pending.dirty.insert(entry.group)
        }
        reports.forgetGone(known: entries.count)
        observer.mirrorGone(entry)
    }

    // MARK: What the peer is told

    /// The next MIRROR frame to send, if one is due.
    func nextReport() -> MirrorMessage? {
        guard let entry = reports.next(), let number = entry.listenerID else { return nil }
        let told = policy.told(entry.outcome, entry.key.kind, at: entry.port)
        return MirrorMessage(
            id: number, state: told.state, reason: told.reason.text,
            addresses: entry.outcome.told(as: told, entry.mirrors))
    }

    func queueReport(_ entry: MirrorEntry) {
        if reports.add(entry) { observer.reportsWait() }
    }

    /// Sets an entry's outcome. If it is another one, or its mirrors are elsewhere, tells the observer and queues a MIRROR frame.
    func report(_ entry: MirrorEntry, _ state: MirrorState, _ reason: Reason) {
        let outcome = MirrorEntry.Outcome(state: state, reason: reason)
        guard outcome != entry.outcome || entry.mirrors != entry.told else { return }
        entry.outcome = outcome
        entry.told = entry.mirrors
        observer.mirrorChanged(entry)
        queueReport(entry)
    }

    // MARK: Clients

    /// The listener that a client of `entry`'s mirror means when it dialled `address`: a covered listener
    /// on exactly that address that is meant at the same port of this machine, or the entry's own. Nil without a session.
    func target(of entry: MirrorEntry, dialled address: IPAddress) -> MirrorTarget? {
        var meant = entry
        if let members = groups[entry.group], members.count > 1 {
            meant =
                members.first {
                    $0.outcome.state == .covered && $0.listenerID != nil
                        && $0.port == entry.port
                        && $0.key.endpoint.address.unmapped == address
                } ?? entry
        }
        guard let number = meant.listenerID else { return nil }
        return MirrorTarget(
            number: number, key: meant.key, traffic: meant.traffic, loop: meant.loop,
            sendsProxyHeader: meant.rule?.sendsProxyHeader == true)
    }

    func pauseAccepting(_ isPaused: Bool) {
        for entry in entries.values {
            for socket in entry.sockets { socket.pause(isPaused) }
        }
    }
}

/// What a mirror table tells. Loop thread only.
protocol MirrorTableObserver: AnyObject {
    /// An entry's state or reason is another.
    func mirrorChanged(_ entry: MirrorEntry)
    /// An entry's process or container is another.
    func ownerChanged(_ entry: MirrorEntry)
    /// An entry is gone, and its sockets are closed.
    func mirrorGone(_ entry: MirrorEntry)
    /// There are MIRROR frames to send.
    func reportsWait()
}
