internal import Addresses
internal import DequeModule
internal import EventLoop
internal import Listeners
internal import Logging
internal import Posix
internal import Sockets
internal import Tunnel
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

/// The peer's listeners and their mirrors. Loop thread only.
final class MirrorTable {
    /// How many listeners of a peer are mirrored, and how many are remembered at all.
    static let maxMirrored = 8_192
    static let maxKnown = 16_384
    /// How many listeners on one protocol and port are mirrored. Loopback has 16 million addresses.
    static let maxInGroup = 256

    private unowned let side: Side
    private var entries: [ListenerKey: MirrorEntry] = [:]
    private var groups: [MirrorGroup: [MirrorEntry]] = [:]
    private var byNumber: [ListenerID: MirrorEntry] = [:]
    private var reports = Deque<MirrorEntry>()
    private var nextSequence: UInt64 = 0
    private let census = MirrorCensus()
    private var dirty: Set<MirrorGroup> = []
    /// Groups that were full and are not any more: who was turned away joins at the next retry.
    private var roomy: Set<MirrorGroup> = []
    /// Groups to be tried again, as far as the last retry did not come to them.
    private var unsettled: [MirrorGroup] = []
    /// How many listeners are tried again in one turn of the loop.
    private static let triesAtOnce = 2_048

    init(side: Side) {
        self.side = side
    }

    var all: [MirrorEntry] { Array(entries.values) }

    /// How many MIRROR frames wait, and entries that are gone in between.
    var reportBacklog: Int { reports.count }

    // MARK: What the peer says

    func advertised(_ message: ListenerMessage) {
        guard let kind = SocketKind(rawValue: message.kind) else { return }
        let key = ListenerKey(
            kind: kind, endpoint: message.endpoint,
            isV6Only: message.isV6Only && message.endpoint.address == .anyV6)
        let entry: MirrorEntry
        if let known = entries[key] {
            entry = known
            if let number = known.remote, number != message.id { byNumber[number] = nil }
        } else {
            guard entries.count < Self.maxKnown else {
                side.counters.listenersDropped += 1
                return
            }
            entry = MirrorEntry(
                key: key, sequence: nextSequence, uid: message.uid, census: census)
            nextSequence += 1
            entries[key] = entry
            join(entry)
        }
        // A number that now means another socket: what it meant is gone.
        if let other = byNumber[message.id], other !== entry { remove(other) }
        entry.uid = message.uid
        let container = Container(text: message.container)
        if (entry.container == nil) != (container == nil)
            || entry.owner.isEmpty != message.owner.isEmpty
        {
            // What is known of its process decides, when only containers are mirrored.
            if entry.isInGroup, side.policy.mirrorScope == .containers { dirty.insert(entry.group) }
        }
        entry.owner = message.owner
        entry.container = container
        let isNewNumber = entry.remote != message.id
        entry.remote = message.id
        byNumber[message.id] = entry
        if isNewNumber { queueReport(entry) }
    }

    /// Puts a new entry into its group; one that no policy could mirror gets its verdict at once.
    private func join(_ entry: MirrorEntry) {
        let plan = AddressRules.plan(for: entry.key, bind: .same, hasIPv6: true)
        if case .unsupported(let why) = plan { return report(entry, .unsupported, why) }
        let members = groups[entry.group]?.count ?? 0
        guard members < Self.maxInGroup else {
            return report(entry, .limit, "more than \(Self.maxInGroup) listeners on this port")
        }
        groups[entry.group, default: []].append(entry)
        entry.isInGroup = true
        dirty.insert(entry.group)
    }

    func withdrew(_ number: ListenerID) {
        guard let entry = byNumber.removeValue(forKey: number) else { return }
        remove(entry)
    }

    /// The peer's set is complete: what it did not claim is gone.
    func synced() {
        for entry in all where entry.remote == nil { remove(entry) }
    }

    /// The tunnel is away: numbers mean nothing any more.
    func sessionLost() {
        for entry in entries.values { entry.remote = nil }
        byNumber = [:]
        for entry in reports { entry.isReportQueued = false }
        reports.removeAll()
    }

    /// The tunnel stayed away.
    func removeAll() {
        for entry in all { remove(entry) }
    }

    private func remove(_ entry: MirrorEntry) {
        entry.closeSockets()
        if let number = entry.remote { byNumber[number] = nil }
        entry.remote = nil
        entries[entry.key] = nil
        if entry.isInGroup {
            if groups[entry.group]?.count == Self.maxInGroup { roomy.insert(entry.group) }
            groups[entry.group]?.removeAll { $0 === entry }
            if groups[entry.group]?.isEmpty == true { groups[entry.group] = nil }
            dirty.insert(entry.group)
        }
        forgetReports()
        side.log.info(
            "listener gone",
            metadata: ["listener": "\(entry.key.endpoint)", "kind": "\(entry.key.kind.name)"])
    }

    /// Entries that are gone leave the queue of reports once they may be half of it: a peer that does not
    /// read must not make it grow.
    private func forgetReports() {
        guard reports.count > 2 * entries.count + 64 else { return }
        reports.removeAll { $0.remote == nil }
    }

    /// The next MIRROR frame to send, if one is due.
    func nextReport() -> MirrorMessage? {
        while let entry = reports.popFirst() {
            entry.isReportQueued = false
            guard let number = entry.remote else { continue }
            return MirrorMessage(
                id: number, state: entry.state, reason: entry.reason,
                addresses: entry.boundAddresses)
        }
        return nil
    }

    private func queueReport(_ entry: MirrorEntry) {
        guard entry.remote != nil, !entry.isReportQueued else { return }
        entry.isReportQueued = true
        reports.append(entry)
        side.session?.askForControl()
    }

    // MARK: What makes a group settle again

    /// To be called at the end of every turn.
    func settleDirty() {
        while let group = dirty.popFirst() { settle(group) }
    }

    /// The policy changed.
    func settleAll() {
        for entry in entries.values { entry.displacement = Displacement() }
        for group in groups.keys { settle(group) }
    }

    /// Two seconds passed: what failed may work now.
    func retry() {
        admitWaiting()
        if unsettled.isEmpty {
            unsettled = groups.filter { $0.value.contains(where: \.mayRecover) }.map(\.key)
        }
        var tried = 0
        while tried < Self.triesAtOnce, let group = unsettled.popLast() {
            tried += groups[group]?.count ?? 0
            settle(group)
        }
    }

    /// Listeners that found their group full join it, the earliest first, where there is room now.
    private func admitWaiting() {
        guard !roomy.isEmpty else { return }
        let waiting = entries.values.filter { !$0.isInGroup && roomy.contains($0.group) }
        roomy = []
        for entry in waiting.sorted(by: { $0.sequence < $1.sequence }) { join(entry) }
    }

    /// A local listener on this port came or went.
    func localChange(_ key: ListenerKey) {
        let group = MirrorGroup(kind: key.kind, port: key.endpoint.port)
        if let members = groups[group], members.contains(where: { $0.state != .active }) {
            for entry in members { entry.displacement = Displacement() }
            settle(group)
        }
    }

    /// The listener that a client of `entry`'s mirror means when it dialled `address`: a covered listener
    /// on exactly that address, or the entry's own.
    func target(of entry: MirrorEntry, dialled address: IPAddress) -> MirrorEntry {
        guard let members = groups[entry.group], members.count > 1 else { return entry }
        return members.first {
            $0.state == .covered && $0.remote != nil && $0.key.endpoint.address.unmapped == address
        } ?? entry
    }

    func pauseAccepting(_ isPaused: Bool) {
        for entry in entries.values {
            for socket in entry.sockets { socket.pause(isPaused) }
        }
    }

    // MARK: Settling

    private func settle(_ group: MirrorGroup) {
        guard let members = groups[group] else { return }
        let order = members.sorted { ($0.breadth, $0.sequence) < ($1.breadth, $1.sequence) }
        var bound: [PlannedSocket] = []
        for entry in order {
            switch verdict(on: entry) {
            case .out(let state, let reason):
                entry.closeSockets()
                entry.displacement = Displacement()
                report(entry, state, reason)
            case .plan(let plan):
                bind(entry, plan, after: &bound, narrower: order)
            }
        }
    }

    private enum Verdict {
        case out(MirrorState, String)
        case plan([PlannedSocket])
    }

    private func verdict(on entry: MirrorEntry) -> Verdict {
        let policy = side.policy
        let plan = AddressRules.plan(for: entry.key, bind: policy.bind, hasIPv6: side.hasIPv6)
        guard case .sockets(let sockets) = plan, let transport = entry.key.kind.transport else {
            if case .unsupported(let why) = plan { return .out(.unsupported, why) }
            return .out(.unsupported, entry.key.kind.name)
        }
        if let why = policy.mirrorsDisabled { return .out(.disabled, why) }
        if let rule = policy.mirrorIgnore.first(matching: transport, entry.key.endpoint.port) {
            return .out(.ignored, rule.text)
        }
        if policy.mirrorScope == .containers, entry.container == nil {
            return .out(.ignored, MirrorScope.reason(ownerIsKnown: !entry.owner.isEmpty))
        }
        if entry.sockets.isEmpty, census.mirrored >= Self.maxMirrored {
            return .out(.limit, "more than \(Self.maxMirrored) listeners")
        }
        return .plan(sockets)
    }

    /// Binds what of `plan` no earlier socket of the group covers.
    private func bind(
        _ entry: MirrorEntry, _ plan: [PlannedSocket], after bound: inout [PlannedSocket],
        narrower order: [MirrorEntry]
    ) {
        let wanted = plan.filter { socket in !bound.contains { $0.covers(socket) } }
        entry.closeSockets { wanted.contains($0) }
        guard !wanted.isEmpty else {
            let cover = bound.first { $0.covers(plan[0]) }
            entry.displacement = Displacement()
            return report(entry, .covered, cover.map { "by \($0.endpoint)" } ?? "")
        }
        var failure: (state: MirrorState, reason: String)?
        let mayDisplace = entry.displacement.isDue(side.loop.now)
        for socket in wanted where !entry.sockets.contains(where: { $0.planned == socket }) {
            let narrower = inTheWay(of: socket, among: order, except: entry)
            guard narrower.isEmpty || mayDisplace else {
                failure = failure ?? (entry.state, entry.reason)
                continue
            }
            for other in narrower { other.closeSockets { !socket.covers($0) } }
            do {
                entry.sockets.append(try open(socket, for: entry))
            } catch {
                entry.displacement.failed(side.loop.now, atCost: !narrower.isEmpty)
                failure = explain(error, socket, entry)
            }
        }
        bound += entry.sockets.map(\.planned)
        if let failure, entry.sockets.isEmpty || failure.state != .unavailable {
            report(entry, failure.state, failure.reason)
        } else {
            if failure == nil { entry.displacement = Displacement() }
            report(entry, .active, "")
        }
    }

    /// Whose narrower mirrors have to be closed before `socket` can be bound; they come after it in the order, and
    /// are bound again if it fails. None while a real listener is in the way anyway.
    private func inTheWay(
        of socket: PlannedSocket, among order: [MirrorEntry], except entry: MirrorEntry
    ) -> [MirrorEntry] {
        guard side.offers.holder(of: socket, kind: entry.key.kind) == nil else { return [] }
        return order.filter { other in
            other !== entry && other.sockets.contains { socket.covers($0.planned) }
        }
    }

    private func open(
        _ planned: PlannedSocket, for entry: MirrorEntry
    ) throws -> any MirrorSocket {
        switch entry.key.kind {
        case .tcp: return try TCPMirror(side: side, entry: entry, planned: planned)
        default: return try UDPMirror(side: side, entry: entry, planned: planned)
        }
    }

    private func explain(
        _ error: any Error, _ planned: PlannedSocket, _ entry: MirrorEntry
    ) -> (MirrorState, String) {
        guard let error = error as? SystemError else { return (.limit, "\(error)") }
        if error.isAddressInUse { return (.conflict, conflictReason(planned, entry)) }
        if error.isPermissionDenied {
            return (.denied, side.deniedReason(port: planned.endpoint.port))
        }
        if error.isAddressUnavailable {
            return (.unavailable, "\(planned.endpoint.address) does not exist here")
        }
        return (.limit, error.description)
    }

    private func conflictReason(_ planned: PlannedSocket, _ entry: MirrorEntry) -> String {
        guard let holder = side.offers.holder(of: planned, kind: entry.key.kind) else {
            return "\(planned.endpoint) is in use"
        }
        guard let owner = holder.owner else { return "\(holder.key.endpoint) is in use" }
        return "\(owner.pid)/\(owner.command) holds \(holder.key.endpoint)"
    }

    private func report(_ entry: MirrorEntry, _ state: MirrorState, _ reason: String) {
        guard entry.set(state, reason) else { return }
        side.log.info(
            "mirror",
            metadata: [
                "listener": "\(entry.key.endpoint)", "kind": "\(entry.key.kind.name)",
                "state": "\(state.name)", "reason": "\(reason)",
                "mirror": "\(entry.boundAddresses.map(\.description).joined(separator: ","))",
            ])
        queueReport(entry)
    }
}

extension MirrorEntry {
    /// 0 for what serves both families, 1 for a wildcard of one, 2 for a single address.
    fileprivate var breadth: Int {
        switch key.endpoint.unmapped.address {
        case .anyV6: key.isV6Only ? 1 : 0
        case .anyV4: 1
        default: 2
        }
    }

    fileprivate var mayRecover: Bool {
        switch state {
        case .conflict, .denied, .unavailable, .limit: true
        default: false
        }
    }
}
