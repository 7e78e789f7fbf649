public import Addresses

/// What the user asks of Twinport. A value; the README has the file it is read from.
public struct Settings: Equatable, Sendable {
    /// `hostNetworking.enabled`: the toggle. Off unless asked for.
    public var isEnabled = false
    /// `enhancedContainerIsolation`: excludes host networking.
    public var isEnhancedContainerIsolation = false
    /// `tunnel`: nil means the default place.
    public var tunnel: Tunnel?
    /// `tunnel.key`: the file of the key that both ends of a `tcp://` tunnel hold.
    public var tunnelKey: String?
    /// `guestToHost`.
    public var guestToHost = GuestToHost()
    /// `hostToGuest`.
    public var hostToGuest = HostToGuest()
    /// `udp`.
    public var udp = UDP()
    /// `scan`.
    public var scan = Scan()

    /// The defaults.
    public init() {}

    /// Which end waits for the other.
    public enum Tunnel: Equatable, Sendable {
        /// `tunnel.listen`.
        case listen(TunnelURI)
        /// `tunnel.connect`.
        case connect(TunnelURI)
    }

    /// Where mirrors of wildcard listeners are bound.
    public enum Bind: String, Equatable, Sendable, CaseIterable {
        /// On the same wildcard: other machines reach them.
        case same
        /// On loopback only.
        case loopback
    }

    /// Whose listeners are mirrored.
    public enum Scope: String, Equatable, Sendable, CaseIterable {
        /// Everybody's.
        case all
        /// Those of processes in containers.
        case containers
    }

    /// Listeners of the guest, mirrored on the host.
    public struct GuestToHost: Equatable, Sendable {
        /// Whether there are any.
        public var isEnabled = true
        /// Where they are bound.
        public var bind = Bind.same
        /// Whose they are.
        public var scope = Scope.all
        /// Which are left out, besides the built-in ones.
        public var ignore: [PortRule] = []
    }

    /// Listeners of the host, mirrored in the guest.
    public struct HostToGuest: Equatable, Sendable {
        /// Whether there are any.
        public var isEnabled = true
        /// Which are left out, besides the built-in ones.
        public var ignore: [PortRule] = []
    }

    /// What concerns UDP.
    public struct UDP: Equatable, Sendable {
        /// After how many idle milliseconds a flow ends.
        public var idle: UInt64 = 300_000
        /// How many milliseconds old a socket on an ephemeral port must be to count; nil: it never does.
        public var ephemeralAfter: UInt64? = 2_000
    }

    /// How listeners are noticed.
    public struct Scan: Equatable, Sendable {
        /// A fixed interval in milliseconds; nil: it adapts.
        public var interval: UInt64?
        /// Whether kernel hints are used.
        public var usesHints = true
    }

    /// UDP ports that are never mirrored, quietly: discovery and leases are about the link, not about
    /// the machine.
    public static let builtInIgnored: [PortRule] =
        [67...68, 137...138, 546...547, 1_900...1_900, 5_353...5_353, 5_355...5_355].map {
            PortRule(transport: .udp, ports: $0)
        }
}
