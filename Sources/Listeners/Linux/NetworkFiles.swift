internal import Posix
internal import TwinportModel

/// What /proc tells of the network that a process is in.
enum NetworkFiles {
    private static let longest = 1 << 18
    private static let longestRoutes = 1 << 20

    /// The addresses that the network has, without loopback's.
    static func addresses(of pid: Int) -> Set<IPAddress> {
        let v4 = text("/proc/\(pid)/net/fib_trie").map(addresses(fibTrie:)) ?? []
        let v6 = text("/proc/\(pid)/net/if_inet6").map(addresses(ifInet6:)) ?? []
        return v4.union(v6)
    }

    /// The networks of our own interfaces behind which there is no router: no route leads there by a gateway, or to
    /// everywhere. Such are the bridges of containers.
    static func innerNetworks() -> [String: [AddressBlock]] {
        var found: [String: [AddressBlock]] = [:]
        var routed: Set<String> = []
        for isIPv6 in [false, true] {
            let path = "/proc/thread-self/net/" + (isIPv6 ? "ipv6_route" : "route")
            guard let bytes = try? SystemFiles.contents(path, limit: longestRoutes) else {
                continue
            }
            // A gateway may be in what is not read.
            guard bytes.count <= longestRoutes else { return [:] }
            let text = String(decoding: bytes, as: UTF8.self)
            for route in isIPv6 ? routes(v6: text) : routes(v4: text) {
                if route.network.isAll || route.hasGateway { routed.insert(route.interface) }
                found[route.interface, default: []].append(route.network)
            }
        }
        return found.filter { !routed.contains($0.key) }
    }

    /// A route of a table.
    struct Route: Equatable {
        var interface: String
        var network: AddressBlock
        var hasGateway: Bool
    }

    /// In `route`: the interface, then network, gateway, four more and the mask; addresses as eight digits of a number in
    /// the machine's order.
    static func routes(v4 text: String) -> [Route] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split { $0 == "\t" || $0 == " " }
            guard fields.count > 7 else { return nil }
            let words = [1, 2, 7].compactMap { UInt32(fields[$0], radix: 16) }
            guard words.count == 3 else { return nil }
            let network = IPAddress.v4(IPv4Address(bits: UInt32(bigEndian: words[0]))).networkBytes
            let mask = IPAddress.v4(IPv4Address(bits: UInt32(bigEndian: words[2]))).networkBytes
            return AddressBlock(network[...], mask: mask[...], isIPv6: false).map {
                Route(interface: String(fields[0]), network: $0, hasGateway: words[1] != 0)
            }
        }
    }

    /// In `ipv6_route`: network and length, source and length, gateway, four more and the interface; all in hexadecimal.
    static func routes(v6 text: String) -> [Route] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count == 10, let length = Int(fields[1], radix: 16), length <= 128,
                let high = UInt64(fields[0].prefix(16), radix: 16),
                let low = UInt64(fields[0].dropFirst(16), radix: 16)
            else { return nil }
            let network = IPAddress.v6(IPv6Address(high: high, low: low)).networkBytes
            let mask = (0..<16).map {
                UInt8(truncatingIfNeeded: 0xff00 >> min(8, max(0, length - 8 * $0)))
            }
            return AddressBlock(network[...], mask: mask[...], isIPv6: true).map {
                Route(
                    interface: String(fields[9]), network: $0,
                    hasGateway: fields[4].contains { $0 != "0" })
            }
        }
    }

    private static func text(_ path: String) -> String? {
        // What cannot be read tells nothing.
        guard let bytes = try? SystemFiles.contents(path, limit: longest) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// In `fib_trie` an address stands on a line `|-- ADDRESS`, and behind it `/32 host LOCAL` if it is the machine's.
    static func addresses(fibTrie text: String) -> Set<IPAddress> {
        var found: Set<IPAddress> = []
        var last: IPAddress?
        for line in text.split(separator: "\n") {
            if let mark = line.firstRange(of: "|-- ") {
                last = IPAddress(String(line[mark.upperBound...]))
            } else if line.hasSuffix("/32 host LOCAL"), let last, !last.isLoopback {
                found.insert(last)
            }
        }
        return found
    }

    /// `if_inet6` begins each line with 32 digits.
    static func addresses(ifInet6 text: String) -> Set<IPAddress> {
        var found: Set<IPAddress> = []
        for line in text.split(separator: "\n") {
            guard let high = UInt64(line.prefix(16), radix: 16),
                let low = UInt64(line.dropFirst(16).prefix(16), radix: 16)
            else { continue }
            let address = IPAddress.v6(IPv6Address(high: high, low: low))
            if !address.isLoopback { found.insert(address) }
        }
        return found
    }
}
