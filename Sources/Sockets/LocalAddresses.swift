internal import CKernel
package import TwinportModel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Network {
    /// The addresses of this thread's network that a socket can be bound to without naming an interface: loopback
    /// first, no link-local IPv6 ones. Empty when the kernel does not tell.
    ///
    /// - Parameter names: Interfaces whose addresses are left out.
    package static func addresses(without names: Set<String> = []) -> [IPAddress] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return [] }
        defer { unsafe freeifaddrs(first) }
        var found: [IPAddress] = []
        var next = unsafe first
        while let item = unsafe next {
            unsafe next = item.pointee.ifa_next
            guard let address = unsafe address(item.pointee), !found.contains(address),
                unsafe names.isEmpty || !names.contains(String(cString: item.pointee.ifa_name))
            else { continue }
            found.append(address)
        }
        return found.filter(\.isLoopback) + found.filter { !$0.isLoopback }
    }

    private static func address(_ item: ifaddrs) -> IPAddress? {
        guard let raw = unsafe item.ifa_addr else { return nil }
        switch Int32(unsafe raw.pointee.sa_family) {
        case AF_INET:
            let value = unsafe UnsafeRawPointer(raw).loadUnaligned(as: sockaddr_in.self)
            return .v4(IPv4Address(bits: UInt32(bigEndian: value.sin_addr.s_addr)))
        case AF_INET6:
            let value = unsafe UnsafeRawPointer(raw).loadUnaligned(as: sockaddr_in6.self)
            // fe80::/10 means nothing without its interface.
            guard value.sin6_scope_id == 0 else { return nil }
            return .v6(IPv6Address(value.sin6_addr))
        default: return nil
        }
    }
}
