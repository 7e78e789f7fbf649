internal import TwinportModel

// The extensions of iptables in rules of nftables (`iptables-nft`), and in rules of the old kind: structures of the kernel,
// byte by byte (`linux/netfilter/xt_*.h`, `nf_nat.h`). Pure.

/// Reads matches and targets.
enum CompatBlob {
    /// What changes nothing about where a connection goes, or lets only some through by chance or by rate.
    /// `recent` is how kube-proxy sends a client to the server that it had before.
    private static let passing: Set<String> = [
        "statistic", "recent", "limit", "hashlimit", "nfacct",
    ]
    /// Targets after which no other rule is asked, beside the two that are read.
    private static let ending: Set<String> = ["SNAT", "MASQUERADE", "TPROXY", "REJECT"]

    /// The steps of an nftables expression `match` or `target`.
    static func steps(
        _ kind: String, _ data: NetlinkAttributes, _ family: UInt8
    ) -> [NATStep] {
        let name = data.first(1)?.exactName ?? ""
        let revision = data.first(2)?.bigWord() ?? 0
        let blob = data.first(3) ?? []
        return kind == "match"
            ? match(name, revision, blob) : target(name, revision, blob, family)
    }

    /// A match.
    static func match(_ name: String, _ revision: UInt32, _ blob: ArraySlice<UInt8>) -> [NATStep] {
        if passing.contains(name) { return [] }
        let conditions: [NATCondition]? =
            switch name {
            case "tcp": ports(blob, transport: 6, flags: 11)
            case "udp": ports(blob, transport: 17, flags: 8)
            case "multiport": multiport(blob)
            case "addrtype": addressType(revision, blob)
            case "comment": [.comment(blob.exactName)]
            default: nil
            }
        return (conditions ?? [.unreadable("xt \(printable(name))")]).map { .condition($0) }
    }

    /// `struct xt_tcp`, `struct xt_udp`: source ports, destination ports, more of TCP, flags.
    private static func ports(
        _ blob: ArraySlice<UInt8>, transport: UInt8, flags: Int
    ) -> [NATCondition]? {
        guard let firstSource = blob.nativeHalf(0), let lastSource = blob.nativeHalf(2),
            let first = blob.nativeHalf(4), let last = blob.nativeHalf(6),
            let inverted = blob.part(flags, 1)?.first
        else { return nil }
        var found: [NATCondition] = [.transport(transport, isNegated: false)]
        if firstSource != 0 || lastSource != .max || inverted & 1 != 0 {
            found.append(.unreadable("a source port"))
        }
        // An option, or flags, of TCP.
        if transport == 6, blob.part(8, 3)?.contains(where: { $0 != 0 }) != false {
            found.append(.unreadable("TCP flags"))
        }
        if first != 0 || last != .max || inverted & 2 != 0 {
            guard first <= last else { return found + [.never] }
            let range = [first...last]
            found.append(.ports(inverted & 2 != 0 ? PortSet.complement(range) : range))
        }
        return found
    }

    /// `struct xt_multiport_v1`: flags, count, 15 ports, whether each begins a range, whether all are inverted.
    private static func multiport(_ blob: ArraySlice<UInt8>) -> [NATCondition]? {
        guard let head = blob.part(0, 2), let last = blob.part(47, 1)?.first,
            let flag = head.first, let count = head.last, count <= 15
        else { return nil }
        guard flag == 1 else { return [.unreadable("a source port")] }
        var ranges: [ClosedRange<Port>] = []
        var index = 0
        while index < Int(count) {
            guard let port = blob.nativeHalf(2 + 2 * index) else { return nil }
            let beginsRange = blob.part(32 + index, 1)?.first != 0 && index + 1 < Int(count)
            let end = beginsRange ? blob.nativeHalf(4 + 2 * index) ?? port : port
            if port <= end { ranges.append(port...end) }
            index += beginsRange ? 2 : 1
        }
        return [.ports(last != 0 ? PortSet.complement(ranges) : ranges)]
    }

    /// `struct xt_addrtype_info_v1`: types of the source, types of the destination, flags; the first revision has words
    /// instead of flags.
    private static func addressType(
        _ revision: UInt32, _ blob: ArraySlice<UInt8>
    ) -> [NATCondition]? {
        guard let source = blob.nativeHalf(0), let destination = blob.nativeHalf(2),
            let word = blob.nativeWord(4)
        else { return nil }
        let isInverted = revision == 0 ? blob.nativeWord(8) ?? 0 != 0 : word & 2 != 0
        var found: [NATCondition] = []
        if source != 0 {
            let isInverted = revision == 0 ? word != 0 : word & 1 != 0
            found.append(.sourceIsOwn((source & 4 != 0) != isInverted))
        }
        if destination != 0 {
            // XT_ADDRTYPE_LOCAL.
            found.append(.destinationIsOwn((destination & 4 != 0) != isInverted))
        }
        return found
    }

    // MARK: Targets

    /// A target.
    static func target(
        _ name: String, _ revision: UInt32, _ blob: ArraySlice<UInt8>, _ family: UInt8
    ) -> [NATStep] {
        // Which address it maps to depends on the one that was dialled.
        if name == "NETMAP" { return [.target(NATTarget(isUnknown: true))] }
        guard name == "DNAT" || name == "REDIRECT" else {
            return ending.contains(name) ? [.verdict(.ends)] : []
        }
        let isOld = family == NATRuleset.ipv4 && (name == "REDIRECT" || revision == 0)
        let range = isOld ? oldRange(blob) : newRange(blob, isIPv6: family == NATRuleset.ipv6)
        guard var target = range else {
            return [.target(NATTarget(isRedirect: name == "REDIRECT", isUnknown: true))]
        }
        if name == "REDIRECT" {
            (target.address, target.isUnknown, target.isRedirect) = (nil, false, true)
        }
        return [.target(target)]
    }

    /// NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED.
    private static let hasAddress: UInt32 = 1
    private static let hasPorts: UInt32 = 2
    /// NF_NAT_RANGE_PROTO_OFFSET, in `struct nf_nat_range2` alone.
    private static let hasBase: UInt32 = 32

    /// `struct nf_nat_ipv4_multi_range_compat`.
    private static func oldRange(_ blob: ArraySlice<UInt8>) -> NATTarget? {
        guard let flags = blob.nativeWord(4), let address = blob.part(8, 4),
            let last = blob.part(12, 4)
        else { return nil }
        return range(flags, address, last, blob.bigHalf(16), blob.bigHalf(18))
    }

    /// `struct nf_nat_range`, `struct nf_nat_range2`.
    private static func newRange(_ blob: ArraySlice<UInt8>, isIPv6: Bool) -> NATTarget? {
        let size = isIPv6 ? 16 : 4
        guard let flags = blob.nativeWord(0), let address = blob.part(4, size),
            let last = blob.part(20, size)
        else { return nil }
        var target = range(flags, address, last, blob.bigHalf(36), blob.bigHalf(38))
        if flags & hasBase != 0, target?.ports != nil { target?.base = blob.bigHalf(40) }
        return target
    }

    private static func range(
        _ flags: UInt32, _ address: ArraySlice<UInt8>, _ last: ArraySlice<UInt8>,
        _ first: Port?, _ end: Port?
    ) -> NATTarget? {
        guard let first, let end else { return nil }
        var target = NATTarget()
        if flags & hasAddress != 0 {
            target.address = IPAddress(networkBytes: address)
            target.isUnknown = target.address == nil || Array(address) != Array(last)
        }
        if flags & hasPorts != 0, first <= end { target.ports = first...end }
        return target
    }
}
