internal import Posix
internal import TwinportModel

// Settling: one function brings a group from any state to the right one. See the theory of operation in
// MirrorTable.swift.

extension MirrorTable {
    /// How many listeners are tried again in one turn of the loop.
    private static let triesAtOnce = 2_048

    /// How long a bind is not tried again while the same local socket is in the way, in milliseconds.
    private static let trustsHolderFor: UInt64 = 60_000

    /// For so long the owner of a new listener is looked for, in milliseconds; on a busy machine, and with the way here.
    private static let findsOwnerWithin: UInt64 = 3_000

    // MARK: What makes a group settle again

    /// To be called at the end of every turn.
    func settleDirty() {
        // Nearly every turn.
        if pending.dirty.isEmpty { return }
        pending.looks.renew(at: clock())
        while let group = pending.dirty.popFirst() { settle(group) }
    }

    /// The policy is another.
    func setPolicy(_ policy: MirrorPolicy) {
        let decidesTheSame = policy.decidesTheSame(as: self.policy)
        if !policy.tellsTheSame(as: self.policy) { all.forEach(queueReport) }
        self.policy = policy
        // A flow's idle time decides about no mirror, and a peer can change it twenty times a second.
        if decidesTheSame { return }
        for entry in all {
            entry.backoff = RebindBackoff()
            entry.finding = nil
        }
        pending.looks.renew(at: clock())
        // Mirrors may change places.
        for entry in groups.values.joined() where entry.rule != nil || !policy.mirrorRules.isEmpty {
            if case .bind = verdict(on: entry) {
                change(entry) { $0.closeSockets { $0.endpoint.port == entry.port } }
            }
        }
        for group in groups.keys { settle(group) }
    }

    /// Two seconds passed: what failed may work now.
    func retry() {
        holds.prune(at: clock())
        pending.looks.renew(at: clock())
        admitWaiting()
        if pending.retries.isEmpty {
            pending.retries = groups.filter { $0.value.contains(where: \.mayRecover) }.map(\.key)
        }
        var tried = 0
        while tried < Self.triesAtOnce, let group = pending.retries.popLast() {
            tried += groups[group]?.count ?? 0
            for entry in groups[group] ?? [] { entry.backoff.endPause() }
            settle(group)
        }
    }

    /// Listeners that found their group full join it, the earliest first, where there is room now.
    private func admitWaiting() {
        guard !pending.roomy.isEmpty else { return }
        let waiting = all.filter { !$0.isInGroup && pending.roomy.contains($0.group) }
        pending.roomy = []
        for entry in waiting.sorted(by: { $0.sequence < $1.sequence }) { join(entry) }
    }

    /// A local listener on this port came or went. However many do in one turn of the loop, the port is settled once.
    ///
    /// - Parameter gone: The listener that went. The mirrors that it was in the way of leave its address free for
    ///   some seconds: it may be restarting.
    func localChange(_ key: ListenerKey, gone: Listener? = nil) {
        for group in remaps.groups(at: PortGroup(of: key)) {
            let members = groups[group]?.filter { $0.port == key.endpoint.port } ?? []
            // A mirror that shares its port may have got a companion, which it makes room for.
            guard
                members.contains(where: {
                    $0.outcome.state != .active || $0.isPartial || $0.traits.sharesPort
                }) || (gone == nil && !members.isEmpty)
            else { continue }
            for entry in members {
                entry.backoff = RebindBackoff()
                if let gone, entry.outcome.state == .conflict || entry.isPartial {
                    holds.left(
                        PlannedSocket(of: gone.key), by: gone.owner?.text ?? "a program",
                        for: entry.key, at: clock())
                }
            }
            pending.dirty.insert(group)
        }
    }

    /// Forwards came to a port of this machine, or left it.
    func forwardChange(at port: Port) {
        for group in remaps.groups(at: PortGroup(kind: .tcp, port: port)) {
            for entry in groups[group] ?? [] where entry.port == port {
                entry.backoff = RebindBackoff()
            }
            pending.dirty.insert(group)
        }
    }

    /// A process of this machine is about to bind `endpoint`. The mirrors in its way close at once, and leave the
    /// address free for some seconds; at most once a minute for each, so that a process that asks forever gets
    /// its answer from the kernel.
    func localWants(_ kind: SocketKind, _ endpoint: Endpoint, process: String) {
        let wanted = PlannedSocket(
            of: ListenerKey(kind: kind, endpoint: endpoint.unmapped, isV6Only: false))
        let place = PortGroup(kind: kind, port: endpoint.port)
        for entry in remaps.groups(at: place).flatMap({ groups[$0] ?? [] }) {
            let isInTheWay = entry.sockets.contains { $0.planned.collides(with: wanted) }
            guard isInTheWay, holds.yield(wanted, to: process, by: entry.key, at: clock()) else {
                continue
            }
            change(entry) { $0.closeSockets { !$0.collides(with: wanted) } }
            pending.dirty.insert(entry.group)
        }
    }

    // MARK: Settling

    private func settle(_ group: PortGroup) {
        guard let members = groups[group] else { return remaps.settled(group, at: []) }
        let order = members.sorted { ($0.breadth, $0.sequence) < ($1.breadth, $1.sequence) }
        var bound: [PlannedSocket] = []
        for entry in order {
            switch verdict(on: entry) {
            case .out(let state, let reason):
                change(entry) { $0.closeSockets() }
                entry.backoff = RebindBackoff()
                report(entry, state, reason)
            case .bind(let plan):
                bind(entry, plan, after: &bound, narrower: order)
            }
        }
        remaps.settled(group, at: members.lazy.map(\.port))
    }

    private func verdict(on entry: MirrorEntry) -> MirrorVerdict {
        var policy = policy
        let finding =
            entry.finding
            ?? entry.placement.map { .rule(MirrorRule($0, at: entry.key.endpoint.port)) }
            ?? policy.mirrorRules.finding(for: ListenerFacts(entry))
        entry.finding = finding
        var rule = finding.rule
        entry.rule = rule.map { RuleVerdict($0, entry.key) }
        entry.port = entry.key.endpoint.port
        if case .needsOwner(let rule) = finding, policy.mirrorsDisabled == nil {
            return .out(.pending, .needsOwner(rule.place.number, .guestToHost))
        }
        if entry.isLoopbackOnly {
            policy.bind = .loopback
            rule?.bind = nil
        }
        let verdict = MirrorVerdict(
            on: entry.key, container: entry.owner.container,
            ownerIsKnown: !entry.owner.text.isEmpty,
            isNew: clock() &- entry.since < Self.findsOwnerWithin, policy: policy, hasIPv6: hasIPv6,
            rule: rule)
        guard case .bind(var plan) = verdict else { return verdict }
        if entry.loop.isLoop { return .out(.conflict, .loop) }
        if entry.sockets.isEmpty, mirrored >= Self.maxMirrored {
            return .out(.limit, .tooManyListeners(Self.maxMirrored))
        }
        if rule != nil, !place(&plan, of: entry) {
            return .out(.limit, .tooManyOnPort(Self.maxInGroup))
        }
        guard entry.traits.sharesPort else { return .bind(plan) }
        for index in plan.indices { plan[index].sharesPort = true }
        return .bind(plan)
    }

    /// Binds the sockets of `plan` that no socket in `bound` covers, and adds them to `bound`.
    private func bind(
        _ entry: MirrorEntry, _ whole: [PlannedSocket], after bound: inout [PlannedSocket],
        narrower order: [MirrorEntry]
    ) {
        let parts = parts(of: whole, entry)
        let plan = parts.plan
        let wanted = plan.filter { socket in !bound.contains { $0.covers(socket) } }
        change(entry) { $0.closeSockets { wanted.contains($0) && !self.givesWay($0, entry) } }
        let mayTry = entry.backoff.mayTry(clock())
        let failure =
            wanted.isEmpty
            ? served(plan[0], of: entry, among: order) ?? .init(state: .covered)
            : bindAll(wanted, of: entry, narrower: order)
        if wanted.isEmpty, failure?.state == .covered { entry.backoff = RebindBackoff() }
        let isLenient = parts.reason != .none || failure?.state == .unavailable
        if mayTry, failure?.state == .conflict, entry.sockets.isEmpty || !isLenient,
            let other = takeNextPort(for: entry, whole, among: order)
        {
            bound += entry.sockets.map(\.planned)
            return report(entry, other.state, other.reason)
        }
        bound += entry.sockets.map(\.planned)
        if let failure, entry.sockets.isEmpty || !isLenient {
            report(entry, failure.state, failure.reason)
        } else {
            if failure == nil { entry.backoff = RebindBackoff() }
            report(entry, .active, parts.reason)
        }
    }

    /// Binds those of `wanted` that are not bound yet.
    ///
    /// - Returns: What went wrong; the last of several.
    private func bindAll(
        _ wanted: [PlannedSocket], of entry: MirrorEntry, narrower order: [MirrorEntry]
    ) -> MirrorEntry.Outcome? {
        var failure: MirrorEntry.Outcome?
        let mayDisplace = entry.backoff.allows(clock())
        let mayTry = entry.backoff.mayTry(clock())
        for socket in wanted where !entry.sockets.contains(where: { $0.planned == socket }) {
            if let obstacle = obstacle(to: socket, of: entry) {
                askForRoom(for: socket, of: entry)
                failure = obstacle
                continue
            }
            let narrower = inTheWay(of: socket, among: order, except: entry)
            guard mayTry, narrower.isEmpty || mayDisplace else {
                failure = failure ?? entry.outcome
                continue
            }
            for other in narrower {
                change(other) { $0.closeSockets { !socket.collides(with: $0) } }
                if other.group != entry.group { pending.dirty.insert(other.group) }
            }
            if let problem = open(socket, for: entry) {
                entry.backoff.failed(clock(), closedOthers: !narrower.isEmpty)
                failure = problem
            }
        }
        return failure
    }

    /// What makes an attempt to bind `socket` needless or harmful; nil: bind it.
    ///
    /// While the socket that was in the way is still listed, an attempt could only succeed in the moment between
    /// its end and the next scan, and would then take the port of a service that restarts.
    func obstacle(
        to socket: PlannedSocket, of entry: MirrorEntry
    ) -> MirrorEntry.Outcome? {
        if let forward = local.forward(at: socket, kind: entry.key.kind) {
            let reason = Reason.forwardHolds(forward.number, forward.socket.endpoint)
            return .init(state: .conflict, reason: reason)
        }
        if let holder = otherFamily(of: socket, entry) { return .init(otherFamily: holder) }
        if let obstacle = rival(to: socket, of: entry) ?? neighbour(to: socket, of: entry) {
            return obstacle
        }
        let now = clock()
        if let blocked = entry.backoff.blocked, now < blocked.until,
            let holder = local.holder(of: socket, kind: entry.key.kind),
            holder.inode == blocked.inode
        {
            return MirrorEntry.Outcome(conflictAt: socket, holder)
        }
        return holds.objection(to: socket, of: entry.key, at: now)
            .map { MirrorEntry.Outcome(state: .conflict, reason: $0) }
    }

    /// The entries whose narrower mirrors have to be closed before `socket` can be bound; they come after it in the
    /// order, and are bound again if it fails. So are those of other groups that a rule makes give way. None while a real listener is in the way anyway.
    private func inTheWay(
        of socket: PlannedSocket, among order: [MirrorEntry], except entry: MirrorEntry
    ) -> [MirrorEntry] {
        guard local.holder(of: socket, kind: entry.key.kind) == nil else { return [] }
        return order.filter { other in
            other !== entry && other.sockets.contains { socket.covers($0.planned) }
        } + displaceable(by: socket, of: entry)
    }

    /// The mirrors of other groups that give way to a socket: none while its address is not one of this machine, where
    /// they would be closed for a bind that fails.
    private func displaceable(by socket: PlannedSocket, of entry: MirrorEntry) -> [MirrorEntry] {
        let rivals = rivals(of: socket, entry)
        if rivals.isEmpty { return [] }
        let address = socket.endpoint.address
        let isHere =
            address.isWildcard || address.isLoopback || sockets.localAddresses().contains(address)
        return isHere ? rivals : []
    }

    /// Whether a program of this machine bound an address after the mirror and what is sent there is meant for that
    /// program: it shares the mirror's address, which also gets what is sent there, or has the port in the other family.
    /// To a forward it gives way, too.
    private func givesWay(_ socket: PlannedSocket, _ entry: MirrorEntry) -> Bool {
        if local.forward(at: socket, kind: entry.key.kind) != nil { return true }
        if otherFamily(of: socket, entry) != nil { return true }
        return socket.sharesPort && local.holder(of: socket, kind: entry.key.kind) != nil
    }

    /// The program of this machine that clients of `localhost` mean, unless somebody named the port.
    func otherFamily(of socket: PlannedSocket, _ entry: MirrorEntry) -> Listener? {
        entry.rule?.isNaming == true || policy.permitsOtherFamily(entry.key)
            ? nil : local.otherFamily(of: socket, kind: entry.key.kind)
    }

    /// Binds one socket.
    ///
    /// - Returns: Why it could not be; nil when it was.
    func open(_ planned: PlannedSocket, for entry: MirrorEntry) -> MirrorEntry.Outcome? {
        guard let transport = entry.key.kind.transport else { return nil }
        do {
            // A client that is held asks for its target later; the entry may be gone then.
            let socket = try sockets.open(planned, transport) {
                [unowned self, weak entry] dialled in
                entry.flatMap { target(of: $0, dialled: dialled) }
            }
            change(entry) { $0.add(socket) }
            return nil
        } catch {
            if error.isAddressInUse, let outcome = neighbour(to: planned, of: entry) {
                return outcome
            }
            let holder = local.holder(of: planned, kind: entry.key.kind)
            if error.isAddressInUse, let holder {
                entry.backoff.blocked = .init(
                    inode: holder.inode, until: clock() &+ Self.trustsHolderFor)
            }
            return MirrorEntry.Outcome(bindFailure: error, planned, holder: holder)
        }
    }
}
