package import TwinportModel

// What the two sides tell each other about listeners and mirrors.

/// The number of a listener in one session, given by the side that has it, never used twice.
package struct ListenerID: Hashable, Sendable {
    /// The number as sent.
    package let rawValue: UInt32
    /// Wraps a number.
    package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// LISTENER: one listening socket of the sender. ODD_SOCKET: one that only looks like a listener. PLACED_LISTENER: one of
/// a host, and where its mirror is to be.
package struct ListenerMessage: Equatable, Sendable {
    /// Its number.
    package var id: ListenerID
    /// What kind of socket it is; 1 is TCP, 2 UDP, others cannot be carried and are named for the report.
    package var kind: UInt8
    /// For `[::]`: whether IPv4 clients are refused.
    package var isV6Only: Bool
    /// Whether its mirrors may be bound on loopback at most.
    package var isLoopbackOnly: Bool
    /// Where it is bound.
    package var endpoint: Endpoint
    /// The user that owns it.
    package var uid: UInt32
    /// The process behind it as `pid/command`, or empty.
    package var owner: String
    /// The container of that process as `id/name`, either of which may be empty; empty outside of containers.
    package var container: String
    /// For UDP: whether its socket lets others bind its address.
    package var sharesPort = false
    /// Why no mirror can stand for it, in words; empty: one can, as far as the sender knows.
    package var obstacle = ""
    /// Of a host's: where its mirror is to be; nil: at its own port.
    package var placement: ListenerPlacement?
    /// The rule that publishes it, whether a socket listens or not; empty: none. For peers with the feature.
    package var published = ""

    /// Describes a listener.
    package init(
        id: ListenerID, kind: UInt8, isV6Only: Bool, isLoopbackOnly: Bool = false,
        endpoint: Endpoint, uid: UInt32, owner: String, container: String
    ) {
        self.isLoopbackOnly = isLoopbackOnly
        self.id = id
        self.kind = kind
        self.isV6Only = isV6Only
        self.endpoint = endpoint
        self.uid = uid
        self.owner = owner
        self.container = container
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
        writer.frame(type) { writer in
            writer.integer(id.rawValue)
            writer.integer(kind)
            writer.integer(flags)
            writer.endpoint(endpoint)
            writer.integer(uid)
            writer.text(owner)
            writer.text(container)
            if !published.isEmpty { writer.text(published) }
            if !obstacle.isEmpty {
                writer.text(obstacle)
            } else if let placement {
                writer.placement(placement)
            }
        }
    }

    private var flags: UInt8 {
        (isV6Only ? 1 : 0) | (isLoopbackOnly ? 2 : 0) | (sharesPort ? 4 : 0)
            | (published.isEmpty ? 0 : 8)
    }

    private var type: FrameType {
        obstacle.isEmpty ? placement == nil ? .listener : .placedListener : .oddSocket
    }

    /// Reads a payload of LISTENER, ODD_SOCKET or PLACED_LISTENER.
    package init(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) {
        var reader = ByteReader(type, payload)
        id = ListenerID(rawValue: try reader.u32(bytes))
        kind = try reader.u8(bytes)
        let flags = try reader.u8(bytes)
        isV6Only = flags & 1 != 0
        isLoopbackOnly = flags & 2 != 0
        sharesPort = flags & 4 != 0
        endpoint = try reader.endpoint(type, bytes)
        uid = try reader.u32(bytes)
        owner = try reader.text(bytes)
        container = try reader.text(bytes)
        if flags & 8 != 0 {
            published = try reader.text(bytes)
            if published.isEmpty { throw .badValue(type, "published") }
        }
        if type == .oddSocket {
            obstacle = try reader.text(bytes)
            if obstacle.isEmpty { throw .badValue(type, "obstacle") }
        } else if type == .placedListener {
            placement = try reader.placement(type, bytes)
        }
        try reader.finish()
    }
}

/// MIRROR: how the mirror of one of the receiver's listeners fares. Sent again whenever that changes.
package struct MirrorMessage: Equatable, Sendable {
    /// The receiver's listener.
    package var id: ListenerID
    /// The state.
    package var state: MirrorState
    /// Why, in words; may be empty.
    package var reason: String
    /// The mirror's addresses, empty unless something is bound.
    package var addresses: [Endpoint]

    /// Describes a mirror.
    package init(id: ListenerID, state: MirrorState, reason: String, addresses: [Endpoint]) {
        self.id = id
        self.state = state
        self.reason = reason
        self.addresses = addresses
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
        writer.frame(.mirror) { writer in
            writer.integer(id.rawValue)
            writer.integer(state.rawValue)
            writer.text(reason)
            writer.integer(UInt8(min(addresses.count, 4)))
            for endpoint in addresses.prefix(4) { writer.endpoint(endpoint) }
        }
    }

    /// Reads a payload.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
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
package struct PolicyMessage: Equatable, Sendable {
    private static let day: UInt64 = 86_400_000
    private static let shortestIdle: UInt64 = 1_000
    private static let shortestScan: UInt64 = 5
    private static let longestScan: UInt64 = 60_000

    /// After how many idle milliseconds a UDP flow ends.
    package var udpIdle: UInt64
    /// How old a UDP socket on an ephemeral port must be, in milliseconds; nil: never a listener.
    package var udpEphemeralAfter: UInt64?
    /// A fixed interval between scans in milliseconds; nil: the watcher adapts.
    package var scanInterval: UInt64?
    /// Whether kernel hints may be used to notice listeners sooner.
    package var usesHints: Bool
    /// Which address the guest's servers see of clients that are not on loopback.
    package var clientAddress: ClientAddress

    /// Describes the defaults.
    package init() {
        udpIdle = 300_000
        udpEphemeralAfter = 2_000
        scanInterval = nil
        usesHints = true
        clientAddress = .real
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
        writer.frame(.policy) { writer in
            writer.integer(udpIdle)
            writer.integer(udpEphemeralAfter ?? .max)
            writer.integer(scanInterval ?? 0)
            writer.integer(UInt8(usesHints ? 1 : 0))
            writer.integer(clientAddress.number)
        }
    }

    /// Reads a payload. Fields that later versions add at the end are passed over.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.policy, payload)
        udpIdle = min(max(try reader.u64(bytes), Self.shortestIdle), Self.day)
        let after = try reader.u64(bytes)
        udpEphemeralAfter = after == .max ? nil : min(after, Self.day)
        let interval = try reader.u64(bytes)
        scanInterval =
            interval == 0 ? nil : min(max(interval, Self.shortestScan), Self.longestScan)
        usesHints = try reader.u8(bytes) & 1 == 1
        // A host that does not know the setting says nothing of it.
        clientAddress = reader.isAtEnd ? .real : ClientAddress(number: try reader.u8(bytes))
    }
}

extension ClientAddress {
    /// POLICY's number for it.
    fileprivate var number: UInt8 {
        switch self {
        case .real: 0
        case .guest: 1
        case .loopback: 2
        }
    }

    /// Numbers that later versions add mean the default, which trusts nobody.
    fileprivate init(number: UInt8) {
        switch number {
        case 1: self = .guest
        case 2: self = .loopback
        default: self = .real
        }
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

// Flags (bit 0: the next free port, bit 1: the address counts), the rule's number, and an endpoint.

extension ByteWriter {
    fileprivate mutating func placement(_ placement: ListenerPlacement) {
        integer(UInt8((placement.takesNextPort ? 1 : 0) | (placement.address == nil ? 0 : 2)))
        integer(UInt16(clamping: placement.rule))
        endpoint(Endpoint(placement.address ?? .loopbackV4, placement.port))
    }
}

extension ByteReader {
    fileprivate mutating func placement(
        _ type: FrameType, _ bytes: Span<UInt8>
    ) throws(WireError) -> ListenerPlacement {
        let flags = try u8(bytes)
        let rule = Int(try u16(bytes))
        let place = try endpoint(type, bytes)
        guard place.port > 0 else { throw .badValue(type, "port") }
        return ListenerPlacement(
            rule: rule, address: flags & 2 == 0 ? nil : place.address, port: place.port,
            takesNextPort: flags & 1 != 0)
    }
}
