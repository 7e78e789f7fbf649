internal import Posix
internal import TwinportModel

/// What /proc tells of the network that a process is in.
enum NetworkFiles {
    private static let longest = 1 << 18

    /// The addresses that the network has, without loopback's.
    static func addresses(of pid: Int) -> Set<IPAddress> {
        let v4 = text("/proc/\(pid)/net/fib_trie").map(addresses(fibTrie:)) ?? []
        let v6 = text("/proc/\(pid)/net/if_inet6").map(addresses(ifInet6:)) ?? []
        return v4.union(v6)
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
