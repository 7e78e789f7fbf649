internal import CKernel
internal import TwinportModel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

// Endpoints to and from the kernel's `sockaddr` family. The only place that knows about byte order.

extension Endpoint {
    /// Calls `body` with this endpoint as a `sockaddr_in` or `sockaddr_in6`.
    ///
    /// - Parameter interface: The index of the interface that a link-local IPv6 address belongs to.
    func withSockaddr<Result>(
        interface: UInt32 = 0, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        switch address {
        case .v4(let v4):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = port.bigEndian
            raw.sin_addr.s_addr = v4.bits.bigEndian
            return unsafe withSockaddrPointer(to: &raw, body)
        case .v6(let v6):
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            raw.sin6_addr = in6_addr(v6)
            raw.sin6_scope_id = interface
            return unsafe withSockaddrPointer(to: &raw, body)
        }
    }

    /// Reads what the kernel wrote into `storage`; nil for any other family. An IPv4-mapped address
    /// stays IPv6: callers that want IPv4 say `unmapped`.
    init?(_ storage: sockaddr_storage) {
        switch Int32(storage.ss_family) {
        case AF_INET:
            let raw = unsafe unsafeBitCast(storage, as: sockaddr_in.self)
            self.init(
                .v4(IPv4Address(bits: UInt32(bigEndian: raw.sin_addr.s_addr))),
                UInt16(bigEndian: raw.sin_port))
        case AF_INET6:
            let raw = unsafe unsafeBitCast(storage, as: sockaddr_in6.self)
            self.init(.v6(IPv6Address(raw.sin6_addr)), UInt16(bigEndian: raw.sin6_port))
        default:
            return nil
        }
    }
}

/// The interface that the kernel names with a link-local IPv6 address; 0 with any other.
func interfaceIndex(_ storage: sockaddr_storage) -> UInt32 {
    guard Int32(storage.ss_family) == AF_INET6 else { return 0 }
    return unsafe unsafeBitCast(storage, as: sockaddr_in6.self).sin6_scope_id
}

/// Reads the leading bytes of a `sockaddr_storage` as one of the structures it stands for.
@unsafe private func unsafeBitCast<T>(_ storage: sockaddr_storage, as type: T.Type) -> T {
    unsafe withUnsafeBytes(of: storage) { unsafe $0.loadUnaligned(as: type) }
}

/// Passes any address structure as the `sockaddr` that calls expect.
@unsafe func withSockaddrPointer<Raw, Result>(
    to raw: inout Raw, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    unsafe withUnsafePointer(to: &raw) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe body($0, socklen_t(MemoryLayout<Raw>.size))
        }
    }
}

extension in6_addr {
    /// The kernel's form of an address.
    init(_ address: IPv6Address) {
        self.init()
        unsafe withUnsafeMutableBytes(of: &self) { bytes in
            unsafe bytes.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
    }
}

extension IPv6Address {
    /// Our form of a kernel address.
    init(_ raw: in6_addr) {
        let (high, low) = unsafe withUnsafeBytes(of: raw) { bytes in
            unsafe (
                bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
                bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            )
        }
        self.init(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
    }
}
