internal import DequeModule
internal import Listeners
internal import Tunnel
internal import TwinportModel
internal import Wire

// Offers this machine's listeners to the peer. A stream is dialled by looking its number up here, and nowhere
// else.
//
// Advertising is paced a little below what a peer tolerates, together with the reports on its listeners, so a
// machine whose listeners come and go wildly is slow to be mirrored rather than cut off; changes that undo each
// other are never sent. While the pace holds listeners back, the newest and the oldest take turns: most of a burst is
// likely gone by its turn, and no flood buries a listener. A withdrawal is paid for by its LISTENER, so a dead port is released at once.

/// One listener of this machine.
final class Offer {
    var listener: Listener
    /// Its number in the live session, once it is to be advertised there.
    var number: ListenerID?
    /// Whether LISTENER was sent for `number`.
    var isAdvertised = false
    var isQueued = false
    /// The latest MIRROR frame about it; nil before the first.
    var mirror: (message: MirrorMessage, reason: Reason)?
    /// Why it is not offered, as a state for the report.
    var withheld: (state: MirrorState, reason: Reason)?
    /// The rule that is about it.
    var rule: RulePlace?
    /// Where the peer is asked to have its mirror.
    var placement: ListenerPlacement?
    let traffic = Traffic()
    /// Whether a mirror can stand for it at all; others are advertised for the report only.
    let isCarried: Bool

    init(_ listener: Listener) {
        self.listener = listener
        let plan = AddressRules.plan(for: listener.key, bind: .loopback, hasIPv6: true)
        if case .sockets = plan, listener.traits.obstacle == nil {
            isCarried = true
        } else {
            isCarried = false
        }
    }
}

/// This machine's listeners as the peer knows them. Loop thread only.
final class Advertiser {
    private var offers: [ListenerKey: Offer] = [:]
    private var byNumber: [ListenerID: Offer] = [:]
    private var nextNumber = ListenerID(rawValue: 1)
    private var waiting = Waiting()
    private var policy: MirrorPolicy
    private var session: Session?
    /// Told when an offer's state may be another, and when it is gone.
    var changed: (Offer, _ isGone: Bool) -> Void = { _, _ in }

    /// What is to be sent.
    private struct Waiting {
        var offers = Deque<Offer>()
        var withdrawn = Deque<ListenerID>()
        /// Offers that the peer had no room for. Some may be gone since.
        var turnedAway: [Offer] = []
        /// How many listeners the peer knows that are still there.
        var advertised = 0
        /// Whether the watcher's first scan is in, and whether SYNC followed the set in this session.
        var isComplete = false
        var isSynced = false
        /// Whether the pace has held offers back since the queue was empty last.
        var isBehind = false
        /// The newest and the oldest take turns then: a flood of others buries neither.
        private var takesNewest = true

        /// The offer whose turn it is.
        var next: Offer? { isBehind && takesNewest ? offers.last : offers.first }

        /// Offers that are gone leave the queue once they may be half of it.
        mutating func forgetGone(known: Int) {
            guard offers.count > 2 * known + 64 else { return }
            offers.removeAll {
                let isGone = $0.number == nil
                if isGone { $0.isQueued = false }
                return isGone
            }
        }

        mutating func removeNext() {
            if isBehind, takesNewest { offers.removeLast() } else { offers.removeFirst() }
            takesNewest.toggle()
            if offers.isEmpty { isBehind = false }
        }
    }

    init(policy: MirrorPolicy) {
        self.policy = policy
    }

    var all: [Offer] { Array(offers.values) }

    // MARK: What the watcher says

    /// The watcher's first scan is in: what was applied so far is the whole set.
    func complete() {
        waiting.isComplete = true
        session?.askForControl()
    }

    /// Takes over a difference that the watcher saw.
    func apply(_ change: ListenerChange) {
        switch change {
        case .appeared(let listener), .updated(let listener): put(listener)
        case .vanished(let key):
            guard let offer = offers.removeValue(forKey: key) else { return }
            withdraw(offer)
            changed(offer, true)
        }
    }

    private func put(_ listener: Listener) {
        if let offer = offers[listener.key], offer.listener.traits != listener.traits {
            // To the peer it is another listener.
            withdraw(offer)
            offers[listener.key] = nil
        }
        if let offer = offers[listener.key] {
            let isAnothers =
                offer.listener.owner != listener.owner || offer.listener.uid != listener.uid
            let decidesTheSame =
                offer.listener.isMirror == listener.isMirror
                && !(isAnothers && policy.offerRules.areAboutOwners)
            let isNews = tellsMore(of: listener, than: offer.listener)
            offer.listener = listener
            if !decidesTheSame { consider(offer) }
            if isNews, offer.number != nil { enqueue(offer) }
            if decidesTheSame { changed(offer, false) }
        } else {
            let offer = Offer(listener)
            offers[listener.key] = offer
            consider(offer)
        }
    }

    /// Whether LISTENER says something else of the one than of the other.
    private func tellsMore(of listener: Listener, than old: Listener) -> Bool {
        var old = old
        old.inode = listener.inode
        if !policy.tellsOwners {
            old.owner = listener.owner
            old.uid = listener.uid
        }
        return listener != old
    }

    // MARK: What is offered

    /// The policy is another.
    func setPolicy(_ policy: MirrorPolicy) {
        let decidesTheSame = policy.decidesTheSame(as: self.policy)
        let isMoreToTell = policy.tellsOwners != self.policy.tellsOwners
        self.policy = policy
        if !decidesTheSame {
            for offer in offers.values { consider(offer, isNews: false) }
        }
        for offer in offers.values where isMoreToTell && offer.number != nil { enqueue(offer) }
    }

    private func reconsiderAll() {
        for offer in offers.values { consider(offer) }
    }

    /// Decides about an offer.
    ///
    /// - Parameter isNews: Whether that is told even if nothing comes of it.
    private func consider(_ offer: Offer, isNews: Bool = true) {
        let before = (offer.withheld?.state, offer.withheld?.reason, offer.rule, offer.number)
        let finding = policy.offerRules.finding(for: ListenerFacts(offer.listener))
        offer.withheld = MirrorVerdict.objection(
            toOffering: offer.listener, policy: policy, finding)
        offer.rule = finding.rule?.place
        let placement = finding.rule?.placement(of: offer.listener.key.endpoint)
        if offer.placement != placement, offer.number != nil { enqueue(offer) }
        offer.placement = placement
        if placement != nil, let features = session?.peer?.features, !features.contains(.placed) {
            offer.withheld = offer.withheld ?? (.unsupported, .other(Self.tooOld))
        }
        defer {
            let now = (offer.withheld?.state, offer.withheld?.reason, offer.rule, offer.number)
            if isNews || before != now { changed(offer, false) }
        }
        guard offer.withheld == nil else { return withdraw(offer) }
        guard session != nil, offer.number == nil else { return }
        let number = nextNumber
        nextNumber = number.next
        offer.number = number
        byNumber[number] = offer
        enqueue(offer)
    }

    private static let tooOld = "the agent is too old for rules with guest: or onConflict:"

    private func withdraw(_ offer: Offer) {
        offer.mirror = nil
        guard let number = offer.number else { return }
        byNumber[number] = nil
        offer.number = nil
        if offer.isAdvertised {
            waiting.advertised -= 1
            waiting.withdrawn.append(number)
            session?.askForControl()
        }
        offer.isAdvertised = false
        admitOne()
    }

    /// There is room for one that was turned away.
    private func admitOne() {
        while byNumber.count < most, let offer = waiting.turnedAway.popLast() {
            guard offers[offer.listener.key] === offer, offer.withheld?.reason == .peerIsFull
            else { continue }
            return consider(offer)
        }
    }

    /// How many listeners the peer remembers.
    private var most: Int { Int(session?.peer?.maxListeners ?? 0) * 2 }

    private func enqueue(_ offer: Offer) {
        guard !offer.isQueued else { return }
        offer.isQueued = true
        waiting.offers.append(offer)
        waiting.forgetGone(known: offers.count)
        session?.askForControl()
    }

    // MARK: The session

    func sessionUp(_ session: Session) {
        sessionLost()
        self.session = session
        waiting.isSynced = false
        reconsiderAll()
    }

    func sessionLost() {
        session = nil
        for offer in offers.values {
            offer.number = nil
            offer.isAdvertised = false
            offer.isQueued = false
            offer.mirror = nil
        }
        byNumber = [:]
        waiting.offers.removeAll()
        waiting.withdrawn.removeAll()
        waiting.turnedAway.removeAll()
        waiting.advertised = 0
        waiting.isBehind = false
    }

    /// Writes the next LISTENER or LISTENER_GONE, and SYNC after the last.
    ///
    /// - Parameters:
    ///   - withWithdrawals: Whether LISTENER_GONE may be written now.
    ///   - takePace: Whether one more frame may be sent now; it counts as sent.
    /// - Returns: What became of it; `later` when the pace does not allow it now.
    func writeNext(
        to writer: inout ByteWriter, withWithdrawals: Bool, takePace: () -> Bool
    ) -> ControlTurn {
        while let offer = waiting.next, !mayAdvertise(offer) {
            waiting.removeNext()
            offer.isQueued = false
        }
        guard !waiting.offers.isEmpty || !waiting.withdrawn.isEmpty else {
            syncIfDone()
            return .nothing
        }
        if !withWithdrawals {
            // The peer still remembers those that it was not told of.
            let isFull = waiting.advertised + waiting.withdrawn.count >= most
            if waiting.offers.isEmpty || isFull { return .onlyWithdrawals }
        }
        if withWithdrawals, let number = waiting.withdrawn.first {
            // An older peer counts withdrawals as it counts listeners.
            let isFree = session?.peer?.features.contains(.freeGone) == true
            guard isFree || takePace() else { return .later }
            waiting.withdrawn.removeFirst()
            Frames.writeGone(number, to: &writer)
            return .wrote
        }
        guard takePace() else {
            waiting.isBehind = true
            return .later
        }
        return writeOffer(to: &writer)
    }

    /// Whether an offer still has a number, and the peer takes one more.
    private func mayAdvertise(_ offer: Offer) -> Bool {
        guard offer.number != nil else { return false }
        if offer.isAdvertised || byNumber.count <= most { return true }
        withdraw(offer)
        offer.withheld = (.limit, .peerIsFull)
        waiting.turnedAway.append(offer)
        changed(offer, false)
        return false
    }

    private func writeOffer(to writer: inout ByteWriter) -> ControlTurn {
        guard let offer = waiting.next else { return .nothing }
        waiting.removeNext()
        offer.isQueued = false
        guard let number = offer.number else { return .later }
        if !offer.isAdvertised { waiting.advertised += 1 }
        offer.isAdvertised = true
        let listener = offer.listener
        var message = ListenerMessage(
            id: number, kind: listener.key.kind.rawValue, isV6Only: listener.key.isV6Only,
            isLoopbackOnly: listener.isLoopbackOnly,
            endpoint: listener.key.endpoint.unmapped, uid: 0, owner: "", container: "")
        if policy.tellsOwners {
            message.uid = listener.uid
            message.owner = listener.owner?.text ?? ""
            message.container = listener.owner?.container?.text ?? ""
        }
        message.sharesPort = listener.traits.sharesPort
        message.placement = offer.placement
        message.obstacle = listener.traits.obstacle?.text ?? ""
        if session?.peer?.features.contains(.published) == true {
            message.published = listener.published?.rule ?? ""
        }
        message.write(to: &writer)
        return .wrote
    }

    private func syncIfDone() {
        guard waiting.isComplete, !waiting.isSynced else { return }
        waiting.isSynced = true
        session?.sendSync()
    }

    /// The offer a stream asks for: one that was advertised under this number, and that can be mirrored.
    func lookup(_ number: ListenerID) -> Offer? {
        guard let offer = byNumber[number], offer.isAdvertised, offer.isCarried else { return nil }
        return offer
    }

    /// The peer tells the state of a mirror.
    func reported(_ message: MirrorMessage) {
        guard let offer = byNumber[message.id] else { return }
        // The same again is no news, however often a peer says it.
        if let last = offer.mirror, last.message == message { return }
        offer.mirror = (message, Reason(text: message.reason))
        changed(offer, false)
    }
}
