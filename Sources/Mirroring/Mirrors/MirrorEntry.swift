internal import TwinportModel
internal import Wire

/// One listener of the peer, and its mirror. Loop thread only.
final class MirrorEntry {
    let key: ListenerKey
    /// What the peer says of its socket.
    let traits: SocketTraits
    /// The order in which listeners came; earlier ones win among equals.
    let sequence: UInt64
    /// When it came, in milliseconds of the loop's clock.
    let since: UInt64
    let traffic = Traffic()

    /// The process behind it, as the peer tells it.
    struct Owner: Equatable {
        let uid: UInt32
        /// `PID/COMMAND`; empty when it is not known.
        let text: String
        let container: Container?
        /// The rule that publishes it, where no socket listens.
        let published: String

        init(_ message: ListenerMessage) {
            uid = message.uid
            text = message.owner
            container = Container(text: message.container)
            published = message.published
        }
    }

    /// What was decided.
    struct Outcome: Equatable {
        var state = MirrorState.pending
        var reason = Reason.none
    }

    var owner: Owner {
        didSet { if owner != oldValue { finding = nil } }
    }
    /// Whether its mirrors are on loopback whatever the settings say.
    var isLoopbackOnly: Bool
    /// The listener's number in the live session; nil while there is none.
    var listenerID: ListenerID?
    var outcome = Outcome()
    private(set) var sockets: [any MirrorSocket] = []
    private var places = Places()
    /// Whether its clients come back through another forwarder.
    var loop: LoopWatch
    var backoff = RebindBackoff()

    init(
        key: ListenerKey, traits: SocketTraits, sequence: UInt64, since: UInt64, owner: Owner,
        isLoopbackOnly: Bool, loop: LoopWatch
    ) {
        self.since = since
        self.isLoopbackOnly = isLoopbackOnly
        self.loop = loop
        self.key = key
        self.traits = traits
        self.sequence = sequence
        self.owner = owner
    }

    /// Where it stands with others.
    private struct Places {
        var isInGroup = false
        var isReportQueued = false
        /// What the rules were found to say; nil when they have to be asked.
        var finding: RuleFinding?
        /// What a rule says of it.
        var rule: RuleVerdict?
        /// The port of this machine that it wants, if not its listener's.
        var port: Port?
        var isNext = false
        /// Where its machine wants it.
        var placement: ListenerPlacement?
        /// Where its mirrors were when that was told last.
        var told: [Endpoint] = []
    }

    /// What the rules were found to say of it and its owner; nil when they have to be asked. To ask them costs as much as
    /// there are rules, and a peer can have its group settled a thousand times a second.
    var finding: RuleFinding? {
        get { places.finding }
        set { places.finding = newValue }
    }

    /// Where its machine wants its mirror: a guest follows its host.
    var placement: ListenerPlacement? {
        get { places.placement }
        set { places.placement = newValue }
    }

    /// What the rule that is about it says.
    var rule: RuleVerdict? {
        get { places.rule }
        set { places.rule = newValue }
    }

    /// The port of this machine where its mirror is, or is to be.
    var port: Port {
        get { places.port ?? key.endpoint.port }
        set { places.port = newValue == key.endpoint.port ? nil : newValue }
    }

    /// Where its mirrors were when that was told last.
    var told: [Endpoint] {
        get { places.told }
        set { places.told = newValue }
    }

    /// Which of two mirrors at one address gives way: the one with the higher rank, and the one that came later.
    func outranks(_ other: MirrorEntry) -> Bool { rank < other.rank }

    /// A port that was taken because another one was not free is nobody's wish: the mirror at its listener's own port
    /// goes before it.
    private var rank: Int { isNext ? RuleVerdict.nextRank : rule?.rank ?? RuleVerdict.ownRank }

    /// Whether its port was taken because another one was not free.
    var isNext: Bool {
        get { places.isNext }
        set { places.isNext = newValue }
    }

    /// Whether its group's settling decides about it.
    var isInGroup: Bool {
        get { places.isInGroup }
        set { places.isInGroup = newValue }
    }

    /// Whether the peer has to be told.
    var isReportQueued: Bool {
        get { places.isReportQueued }
        set { places.isReportQueued = newValue }
    }

    /// The listeners that may cover, or be covered by, this one.
    var group: PortGroup { PortGroup(of: key) }

    /// Where its mirrors are.
    var mirrors: [Endpoint] { sockets.map(\.planned.endpoint) }

    /// 0 for a listener of both families, 1 for a wildcard of one, 2 for a single address.
    var breadth: Int {
        switch key.endpoint.unmapped.address {
        case .anyV6: key.isV6Only ? 1 : 0
        case .anyV4: 1
        default: 2
        }
    }

    /// Whether its mirror stands at some of its addresses only.
    var isPartial: Bool { outcome.state == .active && outcome.reason != .none }

    /// Whether time alone may mend it.
    var mayRecover: Bool {
        switch outcome.state {
        case .active: isPartial
        case .pending: outcome.reason == .ownerNotKnownYet
        case .conflict, .denied, .unavailable, .limit: true
        default: false
        }
    }

    func add(_ socket: any MirrorSocket) {
        sockets.append(socket)
    }

    func closeSockets(keeping kept: (PlannedSocket) -> Bool = { _ in false }) {
        guard sockets.contains(where: { !kept($0.planned) }) else { return }
        for socket in sockets where !kept(socket.planned) { socket.close() }
        sockets.removeAll { !kept($0.planned) }
    }
}
