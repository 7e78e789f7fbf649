// What is mirrored, offered and watched: the settings of one machine as values.

/// Whose listeners are mirrored. Raw values are the settings'.
public enum MirrorScope: String, Hashable, Sendable, CaseIterable {
    /// Everybody's.
    case all
    /// Those of processes in containers.
    case containers
}

/// Which address the guest's servers see when a client on another machine, or one that used an address of an interface,
/// came to a mirror. Clients on the host's loopback are on the guest's loopback in any case. Raw values are the settings'.
public enum ClientAddress: String, Hashable, Sendable, CaseIterable {
    /// The client's own; where the guest may not, as ``guest``.
    case real
    /// An address of an interface of the guest; where it has none, as ``loopback``.
    case guest
    /// Loopback's, as if the client were a program of the guest. Servers that trust loopback trust it.
    case loopback
}

/// What one machine mirrors and offers. The host derives it from its settings; a guest offers all and
/// mirrors all that it is offered, on loopback.
public struct MirrorPolicy: Equatable, Sendable {
    /// Why the peer's listeners are not mirrored here, as `guestToHost.enabled is false`; nil: they are.
    public var mirrorsDisabled: String?
    /// How mirrors of wildcards are bound here.
    public var bind: WildcardBind
    /// Which of the peer's listeners are left out.
    public var mirrorIgnore: [PortRule]
    /// Which of the peer's listeners are mirrored, where these are all; nil: every one that nothing leaves out.
    public var mirrorOnly: [PortRule]?
    /// Whether the peer's own services, those at ``ownServicePorts`` that are in no container, are mirrored only if
    /// ``mirrorOnly`` names them.
    public var leavesOutOwnServices = false
    /// Whose listeners are mirrored here.
    public var scope: MirrorScope
    /// Why this machine's listeners are not offered to the peer; nil: they are.
    public var offersDisabled: String?
    /// Which of this machine's listeners are not offered.
    public var offerIgnore: [PortRule]
    /// Which of this machine's listeners are offered, where these are all; nil: every one that nothing leaves out.
    public var offerOnly: [PortRule]?
    /// What is said of the peer's listeners one by one; the first rule that matches decides. What it does not say, the
    /// rest of the policy does.
    public var mirrorRules: [MirrorRule] = []
    /// The same of this machine's listeners: whether they are offered.
    public var offerRules: [MirrorRule] = []
    /// The address of this machine where mirrors of wildcards and of loopback stand, whatever ``bind`` says; nil: where
    /// that says. For one of several guests.
    public var mirrorAddress: IPAddress?
    /// Whether the mirrors of other guests are offered to the peer, too, as listeners of this machine.
    public var offersNeighbours = false
    /// Whether the peer learns the processes, containers and users of this machine's listeners, and of the programs that
    /// are in the way of mirrors here.
    public var tellsOwners = true
    /// Whether listeners that cannot be mirrored are told to the peer, for its report.
    public var offersUnsupported: Bool
    /// After how many idle milliseconds a UDP flow ends; 30 s at most for port 53.
    public var udpIdle: UInt64
    /// Which address this guest's servers see of clients that are not on loopback. A host's servers have none: the guest's
    /// mirrors are on loopback.
    public var clientAddress: ClientAddress

    /// A host's: places of both machines that are joined, whatever listens there.
    public var forwards: [Forward] = []
    /// Why there are no forwards, as `hostNetworking.enabled is false`; nil: there are.
    public var forwardsDisabled: String?
    /// A guest's: which of its host's forwards it takes part in.
    public var forwardAllowance = ForwardAllowance.local

    /// Ports of services that a machine has for itself: SSH, names, time, printing.
    public static let ownServicePorts: Set<Port> = [22, 53, 123, 631]

    /// The policy of a guest.
    public static let guest = MirrorPolicy(
        bind: .loopback, mirrorIgnore: [], offerIgnore: [], offersUnsupported: true)

    /// The policy of a host with default settings that is switched on.
    public static let host: MirrorPolicy = {
        var policy = MirrorPolicy(
            bind: .auto, mirrorIgnore: .linkLocal, offerIgnore: .linkLocal,
            offersUnsupported: false)
        policy.leavesOutOwnServices = true
        policy.tellsOwners = false
        return policy
    }()

    /// Describes a policy.
    public init(
        mirrorsDisabled: String? = nil, bind: WildcardBind, mirrorIgnore: [PortRule],
        scope: MirrorScope = .all, offersDisabled: String? = nil, offerIgnore: [PortRule],
        offersUnsupported: Bool, udpIdle: UInt64 = 300_000, clientAddress: ClientAddress = .real
    ) {
        self.mirrorsDisabled = mirrorsDisabled
        self.bind = bind
        self.mirrorIgnore = mirrorIgnore
        self.scope = scope
        self.offersDisabled = offersDisabled
        self.offerIgnore = offerIgnore
        self.offersUnsupported = offersUnsupported
        self.udpIdle = udpIdle
        self.clientAddress = clientAddress
    }

    /// Whether `other` says the same of every mirror and offer: they differ in what concerns flows at
    /// most.
    package func decidesTheSame(as other: MirrorPolicy) -> Bool {
        var same = self
        same.udpIdle = other.udpIdle
        same.clientAddress = other.clientAddress
        same.forwards = other.forwards
        same.forwardsDisabled = other.forwardsDisabled
        return same == other
    }

    /// How long a UDP flow to `port` may be idle, in milliseconds.
    package func idleLimit(port: Port) -> UInt64 {
        port == 53 ? min(30_000, udpIdle) : udpIdle
    }
}

/// How listeners are watched.
public struct WatchOptions: Hashable, Sendable {
    /// How old a UDP socket on an ephemeral port must be to count, in milliseconds; nil: it never does.
    public var udpEphemeralAfter: UInt64? = 2_000
    /// A fixed interval between scans in milliseconds; nil: 20 to 100, by how often things change.
    public var fixedInterval: UInt64?
    /// Whether the kernel may be asked to say when to look.
    public var usesHints = true
    /// Whether listeners in networks that users' programs made for themselves are reported, too, and ports that only
    /// rules of the packet filter publish: a guest's.
    public var looksElsewhere = true

    /// The defaults.
    public init() {}
}
