// Addresses as values. Everything that crosses a module boundary speaks of addresses in these types,
// in host byte order; only Sockets and Wire turn them into bytes.

/// An IPv4 address.
public struct IPv4Address: Hashable, Sendable {
    /// The address as a number in host order: `127.0.0.1` is `0x7f00_0001`.
    public let bits: UInt32

    /// Wraps a number in host order.
    public init(bits: UInt32) {
        self.bits = bits
    }

    /// Builds the address from its four parts, as written from left to right.
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        bits = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    }

    /// `0.0.0.0`, "every address of this machine" when bound.
    public static let any = IPv4Address(bits: 0)
    /// `127.0.0.1`.
    public static let loopback = IPv4Address(127, 0, 0, 1)

    /// Whether the address lies in `127.0.0.0/8` (RFC 1122 §3.2.1.3).
    public var isLoopback: Bool { bits >> 24 == 127 }
    /// Whether the address lies in `224.0.0.0/4` (RFC 1112) or is the limited broadcast address.
    public var isMulticastOrBroadcast: Bool { bits >> 28 == 0xe || bits == .max }
}

/// An IPv6 address without a scope: Twinport mirrors nothing that needs one.
public struct IPv6Address: Hashable, Sendable {
    /// The first eight bytes, as a number in host order.
    public let high: UInt64
    /// The last eight bytes, as a number in host order.
    public let low: UInt64

    /// Wraps two numbers in host order.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// `::`, "every address of this machine" when bound.
    public static let any = IPv6Address(high: 0, low: 0)
    /// `::1`.
    public static let loopback = IPv6Address(high: 0, low: 1)

    /// Whether the address is `::1`, the only loopback address of IPv6 (RFC 4291 §2.5.3).
    public var isLoopback: Bool { self == .loopback }
    /// Whether the address lies in `ff00::/8` (RFC 4291 §2.7).
    public var isMulticast: Bool { high >> 56 == 0xff }

    /// The IPv4 address inside `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2), if this is one.
    public var mappedIPv4: IPv4Address? {
        guard high == 0, low >> 32 == 0xffff else { return nil }
        return IPv4Address(bits: UInt32(truncatingIfNeeded: low))
    }

    /// `::ffff:a.b.c.d`, the form in which a dual-stack socket shows an IPv4 peer.
    public init(mapping address: IPv4Address) {
        self.init(high: 0, low: 0xffff << 32 | UInt64(address.bits))
    }
}

/// An IPv4 or IPv6 address.
public enum IPAddress: Hashable, Sendable {
    /// An IPv4 address.
    case v4(IPv4Address)
    /// An IPv6 address.
    case v6(IPv6Address)

    /// `0.0.0.0`.
    public static let anyV4 = IPAddress.v4(.any)
    /// `::`.
    public static let anyV6 = IPAddress.v6(.any)
    /// `127.0.0.1`.
    public static let loopbackV4 = IPAddress.v4(.loopback)
    /// `::1`.
    public static let loopbackV6 = IPAddress.v6(.loopback)

    /// Whether this is `0.0.0.0` or `::`.
    public var isWildcard: Bool { self == .anyV4 || self == .anyV6 }

    /// Whether this is an address of the loopback interface, in either family.
    public var isLoopback: Bool {
        switch self {
        case .v4(let address): address.isLoopback
        case .v6(let address): address.isLoopback
        }
    }

    /// Whether no single socket owns this address: multicast, or IPv4 broadcast.
    public var isMulticastOrBroadcast: Bool {
        switch self {
        case .v4(let address): address.isMulticastOrBroadcast
        case .v6(let address): address.isMulticast
        }
    }

    /// Whether the family is IPv6.
    public var isIPv6: Bool {
        if case .v6 = self { true } else { false }
    }

    /// The same address with `::ffff:a.b.c.d` turned into the IPv4 address it stands for.
    public var unmapped: IPAddress {
        if case .v6(let address) = self, let mapped = address.mappedIPv4 { return .v4(mapped) }
        return self
    }
}
