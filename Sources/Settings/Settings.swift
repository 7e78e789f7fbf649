package import TwinportModel

/// What the user asks of Twinport. A value; the README has the file it is read from.
package struct Settings: Equatable, Sendable {
    /// `hostNetworking.enabled`: the toggle. Off unless asked for.
    package var isEnabled = false
    /// `enhancedContainerIsolation`: excludes host networking.
    package var isEnhancedContainerIsolation = false
    /// `tunnel`: nil means the default place.
    package var tunnel: TunnelMode?
    /// `tunnel.key`: the file of the key that both ends prove to have.
    package var tunnelKey: String?
    /// `guestToHost`.
    package var guestToHost = GuestToHost()
    /// `hostToGuest`.
    package var hostToGuest = HostToGuest()
    /// `forwards`: places of both machines that are joined.
    package var forwards: [Forward] = []
    /// `udp`.
    package var udp = UDP()
    /// `scan`.
    package var scan = Scan()
    /// `guests`, each with what the file says of all of them filled in; empty for one guest at `tunnel`.
    package var guests: [Guest] = []

    /// The defaults.
    package init() {}

    /// Listeners of the guest, mirrored on the host.
    package struct GuestToHost: Equatable, Sendable {
        /// Whether there are any.
        package var isEnabled = true
        /// What holds of single ones; the rest of the section holds where these say nothing.
        package var rules: [MirrorRule] = []
        /// Where they are bound.
        package var bind = WildcardBind.auto
        /// Whose they are.
        package var scope = MirrorScope.all
        /// Which are mirrored; nil: all.
        package var only: [PortRule]?
        /// Which address the guest's servers see of clients that are not on loopback.
        package var clientAddress = ClientAddress.real
        /// Which are left out, besides the built-in ones.
        package var ignore: [PortRule] = []
    }

    /// Listeners of the host, mirrored in the guest.
    package struct HostToGuest: Equatable, Sendable {
        /// Whether there are any.
        package var isEnabled = true
        /// What holds of single ones; the rest of the section holds where these say nothing.
        package var rules: [MirrorRule] = []
        /// Which are offered; nil: all.
        package var only: [PortRule]?
        /// Which are left out, besides the built-in ones.
        package var ignore: [PortRule] = []
        /// Whether the guest learns whose they are.
        package var showsOwners = false
        /// Whether mirrors of other guests are offered, too.
        package var offersGuests = false
    }

    /// What concerns UDP.
    package struct UDP: Equatable, Sendable {
        /// After how many idle milliseconds a flow ends.
        package var idle: UInt64 = 300_000
        /// How many milliseconds old a socket on an ephemeral port must be to count; nil: it never does.
        package var ephemeralAfter: UInt64? = 2_000
    }

    /// How listeners are noticed.
    package struct Scan: Equatable, Sendable {
        /// A fixed interval in milliseconds; nil: it adapts.
        package var interval: UInt64?
        /// Whether kernel hints are used.
        package var usesHints = true
    }
}
