public import Addresses

// What the two sides tell each other about listeners and mirrors.

/// The number of a listener in one session, given by the side that has it, never used twice.
public struct ListenerID: Hashable, Sendable {
    /// The number as sent.
    public let rawValue: UInt32
    /// Wraps a number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// LISTENER: one listening socket of the sender.
public struct ListenerMessage: Equatable, Sendable {
    /// Its number.
    public var id: ListenerID
    /// What kind of socket it is; 1 is TCP, 2 UDP, others cannot be carried and are named for the report.
    public var kind: UInt8
    /// For `[::]`: whether IPv4 clients are refused.
    public var isV6Only: Bool
    /// Where it is bound.
    public var endpoint: Endpoint
    /// Who owns it.
    public var uid: UInt32
    /// The process behind it as `pid/command`, or empty.
    public var owner: String
    /// The container of that process as `id/name`, either of which may be empty; empty outside of containers.
    public var container: String

    /// Describes a listener.
    public init(
        id: ListenerID, kind: UInt8, isV6Only: Bool, endpoint: Endpoint, uid: UInt32, owner: String,
        container: String
    ) {
        self.id = id
        self.kind = kind
        self.isV6Only = isV6Only
        self.endpoint = endpoint
        self.uid = uid
        self.owner = owner
        self.container = container
    }

    /// Adds the frame to `writer`.
    public func write(to writer: inout ByteWriter) {
        writer.frame(.listener) { writer in
            writer.integer(id.rawValue)
            writer.integer(kind)
            writer.integer(UInt8(isV6Only ? 1 : 0))
            writer.endpoint(endpoint)
            writer.integer(uid)
            writer.text(owner)
            writer.text(container)
        }
    }

    /// Reads a payload.
    public init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.listener, payload)
        id = ListenerID(rawValue: try reader.u32(bytes))
        kind = try reader.u8(bytes)
        isV6Only = try reader.u8(bytes) & 1 == 1
        endpoint = try reader.endpoint(.listener, bytes)
        uid = try reader.u32(bytes)
        owner = try reader.text(bytes)
        container = try reader.text(bytes)
        try reader.finish()
    }
}

/// How a listener's mirror fares (docs/behaviour.md). Raw values go over the wire.
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

    /// The word used in status, events and logs.
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
}

/// MIRROR: how the mirror of one of the receiver's listeners fares. Sent again whenever that changes.
public struct MirrorMessage: Equatable, Sendable {
    /// The receiver's listener.
    public var id: ListenerID
    /// The state.
    public var state: MirrorState
    /// Why, in words; may be empty.
    public var reason: String
    /// The mirror's addresses, empty unless something is bound.
    public var addresses: [Endpoint]

    /// Describes a mirror.
    public init(id: ListenerID, state: MirrorState, reason: String, addresses: [Endpoint]) {
        self.id = id
        self.state = state
        self.reason = reason
        self.addresses = addresses
    }

    /// Adds the frame to `writer`.
    public func write(to writer: inout ByteWriter) {
        writer.frame(.mirror) { writer in
            writer.integer(id.rawValue)
            writer.integer(state.rawValue)
            writer.text(reason)
            writer.integer(UInt8(min(addresses.count, 4)))
            for endpoint in addresses.prefix(4) { writer.endpoint(endpoint) }
        }
    }

    /// Reads a payload.
    public init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.mirror, payload)
        id = ListenerID(rawValue: try reader.u32(bytes))
        guard let state = MirrorState(rawValue: try reader.u8(bytes)) else {
            throw .badValue(.mirror, "state")
        }
        self.state = state
        reason = try reader.text(bytes)
        let count = try reader.u8(bytes)
        guard count <= 4 else { throw .badValue(.mirror, "address count") }
        addresses = []
        for _ in 0..<count { addresses.append(try reader.endpoint(.mirror, bytes)) }
        try reader.finish()
    }
}

/// POLICY: what the host's settings ask of the guest. Sent after HELLO and whenever settings change.
///
/// What is read keeps within what settings can say: no idle time below a second, no time above a day, a
/// scan every 5 ms to 60 s. A host cannot make its guest spin, or count past a number's end.
public struct PolicyMessage: Equatable, Sendable {
    private static let day: UInt64 = 86_400_000
    private static let shortestIdle: UInt64 = 1_000
    private static let shortestScan: UInt64 = 5
    private static let longestScan: UInt64 = 60_000

    /// After how many idle milliseconds a UDP flow ends.
    public var udpIdle: UInt64
    /// How old a UDP socket on an ephemeral port must be, in milliseconds; nil: never a listener.
    public var udpEphemeralAfter: UInt64?
    /// A fixed interval between scans in milliseconds; nil: the watcher adapts.
    public var scanInterval: UInt64?
    /// Whether kernel hints may be used to notice listeners sooner.
    public var usesHints: Bool

    /// Describes the defaults.
    public init() {
        udpIdle = 300_000
        udpEphemeralAfter = 2_000
        scanInterval = nil
        usesHints = true
    }

    /// Adds the frame to `writer`.
    public func write(to writer: inout ByteWriter) {
        writer.frame(.policy) { writer in
            writer.integer(udpIdle)
            writer.integer(udpEphemeralAfter ?? .max)
            writer.integer(scanInterval ?? 0)
            writer.integer(UInt8(usesHints ? 1 : 0))
        }
    }

    /// Reads a payload. Fields that later versions add at the end are passed over.
    public init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.policy, payload)
        udpIdle = min(max(try reader.u64(bytes), Self.shortestIdle), Self.day)
        let after = try reader.u64(bytes)
        udpEphemeralAfter = after == .max ? nil : min(after, Self.day)
        let interval = try reader.u64(bytes)
        scanInterval =
            interval == 0 ? nil : min(max(interval, Self.shortestScan), Self.longestScan)
        usesHints = try reader.u8(bytes) & 1 == 1
    }
}

extension ByteWriter {
    /// A family byte (4 or 6), the port, and 16 address bytes in network order (IPv4 in the first four).
    mutating func endpoint(_ endpoint: Endpoint) {
        switch endpoint.address {
        case .v4(let address):
            integer(UInt8(4))
            integer(endpoint.port)
            integer(address.bits.byteSwapped)
            integer(UInt64(0))
            integer(UInt32(0))
        case .v6(let address):
            integer(UInt8(6))
            integer(endpoint.port)
            integer(address.high.byteSwapped)
            integer(address.low.byteSwapped)
        }
    }
}

extension ByteReader {
    mutating func endpoint(_ type: FrameType, _ bytes: Span<UInt8>) throws(WireError) -> Endpoint {
        let family = try u8(bytes)
        let port = try u16(bytes)
        switch family {
        case 4:
            let bits = try u32(bytes).byteSwapped
            _ = try u64(bytes)
            _ = try u32(bytes)
            return Endpoint(.v4(IPv4Address(bits: bits)), port)
        case 6:
            let high = try u64(bytes).byteSwapped
            return Endpoint(
                .v6(IPv6Address(high: high, low: try u64(bytes).byteSwapped)), port)
        default:
            throw .badValue(type, "address family")
        }
    }
}
