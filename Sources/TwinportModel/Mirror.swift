// What a mirror is about: which machine, which way, and in which state.

/// Which machine a program stands for. Both run the same code with the roles swapped.
public enum Role: UInt8, Sendable {
    /// The desktop.
    case host = 1
    /// The virtual machine.
    case guest = 2

    /// The role of the other end of the tunnel.
    public var peer: Role { self == .host ? .guest : .host }

    /// The direction of flows whose mirror is on this machine.
    package var inward: Direction { self == .host ? .guestToHost : .hostToGuest }
    /// The direction of flows whose listener is on this machine.
    package var outward: Direction { peer.inward }
}

/// Which listeners a mirror or a flow is about. Raw values are JSON's.
public enum Direction: String, Sendable, Codable, CaseIterable {
    /// The listener is in the guest; the mirror and its clients are on the host.
    case guestToHost = "guest-to-host"
    /// The listener is on the host; the mirror and its clients are in the guest.
    case hostToGuest = "host-to-guest"

    /// The machine with the listener.
    package var listenerRole: Role { self == .guestToHost ? .guest : .host }

    /// The key of its section in the settings.
    package var settingsKey: String { self == .guestToHost ? "guestToHost" : "hostToGuest" }

    /// The key of its rules in the settings.
    package var rulesKey: String { "\(settingsKey).rules" }
}

/// The state of a listener's mirror (docs/behaviour.md). Raw values go over the wire.
public enum MirrorState: UInt8, Sendable, CaseIterable {
    /// The mirror accepts.
    case active = 1
    /// Not decided yet.
    case pending = 2
    /// Another socket holds the address.
    case conflict = 3
    /// The kernel wants a privilege.
    case denied = 4
    /// The address does not exist on this machine.
    case unavailable = 5
    /// A wildcard mirror on the same port serves it.
    case covered = 6
    /// A rule leaves it out.
    case ignored = 7
    /// Cannot be mirrored.
    case unsupported = 8
    /// There are too many.
    case limit = 9
    /// Host networking, or this direction, is switched off.
    case disabled = 10

    /// The word used in status, events, JSON and logs.
    public var name: String {
        switch self {
        case .active: "active"
        case .pending: "pending"
        case .conflict: "conflict"
        case .denied: "denied"
        case .unavailable: "unavailable"
        case .covered: "covered"
        case .ignored: "ignored"
        case .unsupported: "unsupported"
        case .limit: "limit"
        case .disabled: "disabled"
        }
    }

    /// The state with this ``name``; nil for any other word.
    public init?(name: some StringProtocol) {
        guard let state = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = state
    }
}

/// The state of a flow. Raw values are JSON's.
public enum FlowState: String, Sendable, Codable {
    /// The listener is being dialled.
    case dialling
    /// Bytes may move both ways.
    case open
    /// One of the two directions has ended.
    case halfClosed = "half-closed"
    /// Over; about to leave the list.
    case closed
}
