internal import TwinportModel

/// One socket as the system's tables list it. States are the numbers of Linux (`include/net/tcp_states.h`).
struct SocketRow: Hashable {
    /// The state of a listening TCP socket.
    static let listening: UInt8 = 0x0a
    /// The state of an unconnected UDP socket.
    static let unconnected: UInt8 = 0x07
    /// The state of a bound TCP socket that does not listen (Linux 6.8).
    static let boundInactive: UInt8 = 0x0d

    /// What kind of socket it is.
    var kind: SocketKind
    /// Where it is bound; IPv4-mapped addresses are IPv4 here.
    var endpoint: Endpoint
    /// ``listening``, ``unconnected`` or another number.
    var state: UInt8
    /// The user that made it.
    var uid: UInt32
    /// The number that no other open socket of this machine has.
    var inode: UInt64
    /// For `[::]`: whether it is v6-only; nil when the table does not tell.
    var isV6Only: Bool?
    /// The index of the device that it is bound to, 0 for none or when the table does not tell.
    var device: UInt32 = 0
    /// Whether it is in another network namespace.
    var isForeign = false
    /// Whether it has the mark of a Twinport's mirror; nil when the table does not tell.
    var isMirror: Bool?
    /// Whether it has the mark of a page, beside that.
    var isPage = false

    /// Which listener it is one of.
    var key: ListenerKey {
        ListenerKey(
            kind: kind, endpoint: endpoint, isV6Only: endpoint.address == .anyV6 && isV6Only == true
        )
    }
}

extension SocketOwner {
    /// Whether it is called as one of Twinport's programs: what it binds is a mirror, or its tunnel.
    var isTwinport: Bool { command == "twinport" || command == "twinport-agent" }
}
