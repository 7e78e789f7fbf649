internal import CKernel
internal import Glibc
internal import Posix

/// Reads the NAT table of the kernel's older packet filter (`linux/netfilter_ipv4/ip_tables.h`), by options of a socket
/// of the calling thread's network namespace. Takes CAP_NET_ADMIN.
package enum PacketFilter {
    private static let getInfo: Int32 = 64
    private static let getEntries: Int32 = 65
    private static let nameSize = 32
    private static let infoSize = 84
    /// `struct ipt_get_entries` before its entries: the name, a number, padding.
    private static let headSize = 40

    /// `struct ipt_getinfo` of the table `nat`; nil when the kernel refuses.
    package static func natInfo(isIPv6: Bool) -> [UInt8]? {
        var bytes = named(size: infoSize)
        guard let count = ask(getInfo, isIPv6, &bytes), count == infoSize else { return nil }
        return bytes
    }

    /// The table's entries.
    ///
    /// - Parameter size: As the kernel gave it; it refuses any other.
    package static func natEntries(isIPv6: Bool, size: Int) -> [UInt8]? {
        guard (0...(64 << 20)).contains(size) else { return nil }
        var bytes = named(size: headSize + size)
        for index in 0..<4 {
            bytes[nameSize + index] = UInt8(truncatingIfNeeded: size >> (8 * index))
        }
        #if _endian(big)
            bytes[nameSize..<(nameSize + 4)].reverse()
        #endif
        guard ask(getEntries, isIPv6, &bytes) == bytes.count else { return nil }
        return Array(bytes.dropFirst(headSize))
    }

    private static func named(size: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: size)
        for (index, byte) in "nat".utf8.enumerated() { bytes[index] = byte }
        return bytes
    }

    private static func ask(_ option: Int32, _ isIPv6: Bool, _ bytes: inout [UInt8]) -> Int? {
        let raw = SystemCalls.socket(isIPv6 ? AF_INET6 : AF_INET, SystemCalls.datagram)
        guard raw >= 0 else { return nil }
        let socket = OwnedFD(taking: raw)
        let level = Int32(isIPv6 ? IPPROTO_IPV6 : IPPROTO_IP)
        var length = socklen_t(bytes.count)
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe getsockopt(socket.raw, level, option, buffer.baseAddress, &length)
        }
        return result == 0 ? Int(length) : nil
    }
}
