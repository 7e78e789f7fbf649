// Addresses as people write them. Formatting follows RFC 5952 (IPv6) so that one address has one
// spelling in tables, JSON and logs; parsing accepts every valid spelling and nothing else.

extension IPv4Address: CustomStringConvertible {
    /// Dotted decimal, as `127.0.0.1`.
    public var description: String {
        "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
    }

    /// Reads dotted decimal: four numbers from 0 to 255 without leading zeros; anything else is nil.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard part.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let byte = UInt8(part),
                part == "0" || !part.hasPrefix("0")
            else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
        self.init(bits: bits)
    }
}

extension IPv6Address: CustomStringConvertible {
    /// The eight 16-bit groups from left to right.
    private var groups: [UInt16] {
        (0..<8).map { index in
            let half = index < 4 ? high : low
            return UInt16(truncatingIfNeeded: half >> (48 - 16 * UInt64(index % 4)))
        }
    }

    /// RFC 5952: lower case, no leading zeros, the longest run of zero groups as `::`.
    public var description: String {
        if let mapped = mappedIPv4 { return "::ffff:\(mapped)" }
        let groups = self.groups
        let gap = Self.longestZeroRun(in: groups)
        let texts = groups.map { String($0, radix: 16) }
        guard let gap else { return texts.joined(separator: ":") }
        return texts[..<gap.lowerBound].joined(separator: ":") + "::"
            + texts[gap.upperBound...].joined(separator: ":")
    }

    /// The first longest run of at least two zero groups.
    private static func longestZeroRun(in groups: [UInt16]) -> Range<Int>? {
        var best: Range<Int>?
        var start = 0
        while start < groups.count {
            var end = start
            while end < groups.count, groups[end] == 0 { end += 1 }
            if end - start >= 2, end - start > (best?.count ?? 1) { best = start..<end }
            start = max(end, start + 1)
        }
        return best
    }

    /// Reads any RFC 4291 §2.2 spelling without a scope; anything else is nil.
    public init?(_ text: some StringProtocol) {
        var text = String(text)
        if text.contains("."), let colon = text.lastIndex(of: ":") {
            guard let tail = IPv4Address(text[text.index(after: colon)...]) else { return nil }
            let high = String(tail.bits >> 16, radix: 16)
            let low = String(tail.bits & 0xffff, radix: 16)
            text = text[...colon] + high + ":" + low
        }
        guard let groups = Self.expandedGroups(text) else { return nil }
        self.init(
            high: groups[..<4].reduce(0) { $0 << 16 | UInt64($1) },
            low: groups[4...].reduce(0) { $0 << 16 | UInt64($1) })
    }

    /// All eight groups of a spelling that may contain one `::`.
    private static func expandedGroups(_ text: String) -> [UInt16]? {
        guard let gap = firstGap(in: text) else {
            let groups = parseGroups(text[...])
            return groups?.count == 8 ? groups : nil
        }
        guard let left = parseGroups(text[..<gap.lowerBound]),
            let right = parseGroups(text[gap.upperBound...]), left.count + right.count <= 7
        else { return nil }
        return left + Array(repeating: 0, count: 8 - left.count - right.count) + right
    }

    private static func firstGap(in text: String) -> Range<String.Index>? {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if next < text.endIndex, text[index] == ":", text[next] == ":" {
                return index..<text.index(after: next)
            }
            index = next
        }
        return nil
    }

    private static func parseGroups(_ text: Substring) -> [UInt16]? {
        if text.isEmpty { return [] }
        var groups: [UInt16] = []
        for part in text.split(separator: ":", omittingEmptySubsequences: false) {
            guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
                let group = UInt16(part, radix: 16)
            else { return nil }
            groups.append(group)
        }
        return groups
    }
}

extension IPAddress: CustomStringConvertible {
    /// The address without brackets.
    public var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }

    /// Reads either family, IPv6 without brackets; anything else is nil.
    public init?(_ text: some StringProtocol) {
        if let address = IPv4Address(text) {
            self = .v4(address)
        } else if let address = IPv6Address(text) {
            self = .v6(address)
        } else {
            return nil
        }
    }
}

extension Endpoint: CustomStringConvertible {
    /// `127.0.0.1:80`, or `[::1]:80`.
    public var description: String {
        address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    /// Reads `127.0.0.1:80` or `[::1]:80`; anything else is nil.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), !text[colon...].hasPrefix(":+"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        let bracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.count > 2
        if bracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(host), address.isIPv6 == bracketed else { return nil }
        self.init(address, port)
    }
}
