public import Addresses

/// A rule that leaves ports out.
public struct IgnoreRule: Hashable, Sendable {
    /// Which protocol, nil for both.
    public var transport: TransportProtocol?
    /// Which ports.
    public var ports: ClosedRange<Port>
    /// How the rule is shown, as `udp/5353`.
    public var text: String

    /// Describes a rule.
    public init(transport: TransportProtocol?, ports: ClosedRange<Port>, text: String) {
        self.transport = transport
        self.ports = ports
        self.text = text
    }

    func matches(_ transport: TransportProtocol, _ port: Port) -> Bool {
        ports.contains(port) && (self.transport ?? transport) == transport
    }
}

/// Whose listeners are mirrored.
public enum MirrorScope: Hashable, Sendable {
    /// Everybody's.
    case all
    /// Those of processes in containers.
    case containers

    /// Why a listener outside of containers, or of an unknown process, is left out.
    static func reason(ownerIsKnown: Bool) -> String {
        ownerIsKnown
            ? "guestToHost.scope: not in a container"
            : "guestToHost.scope: its process is not known (is the agent root?)"
    }
}

/// What one side mirrors and offers. The host derives it from its settings; the guest offers all and
/// mirrors what it is offered.
public struct MirrorPolicy: Equatable, Sendable {
    /// Whether the peer's listeners are mirrored here; a reason if not.
    public var mirrorsDisabled: String?
    /// How mirrors of wildcards are bound here.
    public var bind: BindPolicy
    /// Which of the peer's listeners are left out.
    public var mirrorIgnore: [IgnoreRule]
    /// Whose listeners are mirrored here.
    public var mirrorScope: MirrorScope
    /// Whether this side's listeners are offered to the peer; a reason if not.
    public var offersDisabled: String?
    /// Which of this side's listeners are not offered.
    public var offerIgnore: [IgnoreRule]
    /// Whether listeners that cannot be mirrored are told to the peer, for its report.
    public var offersUnsupported: Bool
    /// After how many idle milliseconds a UDP flow ends; 30 s at most for port 53.
    public var udpIdle: UInt64

    /// The policy of a guest.
    public static let guest = MirrorPolicy(
        mirrorsDisabled: nil, bind: .loopback, mirrorIgnore: [], mirrorScope: .all,
        offersDisabled: nil,
        offerIgnore: [], offersUnsupported: true, udpIdle: 300_000)

    /// Describes a policy.
    public init(
        mirrorsDisabled: String?, bind: BindPolicy, mirrorIgnore: [IgnoreRule],
        mirrorScope: MirrorScope, offersDisabled: String?, offerIgnore: [IgnoreRule],
        offersUnsupported: Bool,
        udpIdle: UInt64
    ) {
        self.mirrorsDisabled = mirrorsDisabled
        self.bind = bind
        self.mirrorIgnore = mirrorIgnore
        self.mirrorScope = mirrorScope
        self.offersDisabled = offersDisabled
        self.offerIgnore = offerIgnore
        self.offersUnsupported = offersUnsupported
        self.udpIdle = udpIdle
    }

    /// Whether `other` says the same of every mirror and offer: they differ in the idle time at most.
    func decidesTheSame(as other: MirrorPolicy) -> Bool {
        var same = self
        same.udpIdle = other.udpIdle
        return same == other
    }

    /// How long a UDP flow to `port` may be idle, in milliseconds.
    func idleLimit(port: Port) -> UInt64 {
        port == 53 ? min(30_000, udpIdle) : udpIdle
    }
}

extension [IgnoreRule] {
    /// The first rule that matches.
    func first(matching transport: TransportProtocol, _ port: Port) -> IgnoreRule? {
        first { $0.matches(transport, port) }
    }
}
