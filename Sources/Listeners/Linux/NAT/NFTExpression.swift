internal import TwinportModel

// What an nftables rule does, from NFTA_RULE_EXPRESSIONS. Pure.

/// Reads expressions. What is not known becomes a condition that says so: a rule never seems to ask less than it does.
enum NFTExpression {
    private static let mostSteps = 128
    /// What changes nothing about where a connection goes.
    private static let passing: Set<String> = [
        "counter", "log", "notrack", "objref", "last", "limit", "quota", "connlimit",
    ]
    private static let fields: [UInt32: NATField] = [
        4: .inIndex, 5: .outIndex, 6: .inInterface, 7: .outInterface, 15: .family, 16: .transport,
    ]
    private static let words: [UInt32: String] = [
        3: "meta mark", 10: "meta skuid", 11: "meta skgid", 17: "meta bri_iifname",
        19: "meta pkttype", 23: "meta cgroup",
    ]

    /// The steps of a rule.
    static func steps(_ list: ArraySlice<UInt8>, _ family: UInt8) -> [NATStep] {
        var steps: [NATStep] = []
        for item in NetlinkAttributes(list) where item.kind == 1 {
            guard steps.count < mostSteps else {
                return steps + [.condition(.unreadable("a long rule"))]
            }
            let expression = NetlinkAttributes(item.value)
            guard let name = expression.first(1)?.exactName else { continue }
            let data = NetlinkAttributes(expression.first(2) ?? [])
            steps += step(name, data, family)
        }
        return steps
    }

    private static func step(
        _ name: String, _ data: NetlinkAttributes, _ family: UInt8
    ) -> [NATStep] {
        switch name {
        case "meta", "payload", "fib", "numgen", "hash", "ct", "socket", "rt", "exthdr", "osf":
            return load(name, data)
        case "bitwise": return [mask(data)]
        case "cmp": return [compare(data)]
        case "range": return [range(data)]
        case "immediate": return [immediate(data)]
        case "lookup": return [lookup(data)]
        case "nat": return nat(data)
        case "redir":
            return [.redirect(port: register(data, 1), lastPort: register(data, 2))]
        case "masq": return [.verdict(.ends)]
        case "match", "target": return CompatBlob.steps(name, data, family)
        case _ where passing.contains(name): return []
        default: return [.condition(.unreadable(printable(name)))]
        }
    }

    /// A register in words: 1 to 4 are four words each, from 8 on one (NFT_REG32_00).
    private static func register(_ data: NetlinkAttributes, _ kind: UInt16) -> Int? {
        guard let number = data.first(kind)?.bigWord() else { return nil }
        switch number {
        case 1...4: return Int(number - 1) * 4
        case 8...23: return Int(number - 8)
        default: return nil
        }
    }

    private static func load(_ name: String, _ data: NetlinkAttributes) -> [NATStep] {
        switch name {
        case "payload":
            guard let slot = register(data, 1), let base = data.first(2)?.bigWord(),
                let offset = data.first(3)?.bigWord(), let size = data.first(4)?.bigWord(),
                offset < 4_096, (1...64).contains(size)
                // It writes into the packet.
            else { return [] }
            return [.load(.payload(base: base, offset: Int(offset)), size: Int(size), to: slot)]
        case "meta":
            guard let slot = register(data, 1) else { return [] }
            let key = data.first(2)?.bigWord() ?? 0
            let field = fields[key] ?? .unreadable(words[key] ?? "meta \(key)")
            let size = [NATField.inInterface, .outInterface].contains(field) ? 16 : 4
            return [.load(field, size: size, to: slot)]
        case "fib":
            guard let slot = register(data, 1) else { return [] }
            // NFT_FIB_RESULT_ADDRTYPE, of NFTA_FIB_F_SADDR or NFTA_FIB_F_DADDR.
            let (result, flags) = (data.first(2)?.bigWord(), data.first(3)?.bigWord() ?? 0)
            let types: [UInt32: NATField] = [1: .sourceType, 2: .destinationType]
            let type = result == 3 ? types[flags & 3] : nil
            return [.load(type ?? .unreadable("fib"), size: 4, to: slot)]
        case "numgen", "hash":
            return (register(data, name == "hash" ? 2 : 1) ?? register(data, 1)).map {
                [.load(.chance, size: 4, to: $0)]
            } ?? []
        default:
            return (register(data, 1)).map { [.load(.unreadable(name), size: 16, to: $0)] } ?? []
        }
    }

    private static func mask(_ data: NetlinkAttributes) -> NATStep {
        guard let from = register(data, 1), let to = register(data, 2) else {
            return .condition(.unreadable("bitwise"))
        }
        let isPlain = data.first(6)?.bigWord() ?? 0 == 0
        let xor = data.first(5).flatMap(value) ?? []
        guard isPlain, xor.allSatisfy({ $0 == 0 }), let mask = data.first(4).flatMap(value) else {
            return .load(.unreadable("bitwise"), size: 16, to: to)
        }
        return .mask(from, mask, to: to)
    }

    private static func compare(_ data: NetlinkAttributes) -> NATStep {
        guard let slot = register(data, 1), let value = data.first(3).flatMap(value),
            let comparison = data.first(2)?.bigWord().flatMap(NATComparison.init)
        else { return .condition(.unreadable("cmp")) }
        return .compare(slot, comparison, value)
    }

    private static func range(_ data: NetlinkAttributes) -> NATStep {
        guard let slot = register(data, 1), let from = data.first(3).flatMap(value),
            let to = data.first(4).flatMap(value)
        else { return .condition(.unreadable("range")) }
        let isNegated = data.first(2)?.bigWord() ?? 0 != 0
        return .range(slot, isNegated: isNegated, from: from, to: to)
    }

    private static func immediate(_ item: NetlinkAttributes) -> NATStep {
        guard let data = item.first(2).flatMap(data) else {
            return .condition(.unreadable("immediate"))
        }
        switch data {
        case .verdict(let verdict): return .verdict(verdict)
        case .value(let bytes):
            guard let slot = register(item, 1) else { return .condition(.unreadable("immediate")) }
            return .value(bytes, to: slot)
        }
    }

    private static func lookup(_ data: NetlinkAttributes) -> NATStep {
        guard let slot = register(data, 2), let set = data.first(1)?.exactName else {
            return .condition(.unreadable("lookup"))
        }
        let isNegated = data.first(5)?.bigWord() ?? 0 != 0
        // Register 0 is the verdict's.
        if data.first(3)?.bigWord() == 0 { return .decide(slot, map: set) }
        return .lookup(slot, set: set, isNegated: isNegated, to: register(data, 3))
    }

    private static func nat(_ data: NetlinkAttributes) -> [NATStep] {
        // NFT_NAT_SNAT has nothing to do in these chains.
        guard data.first(1)?.bigWord() == 1 else { return [.verdict(.ends)] }
        // NF_NAT_RANGE_NETMAP in NFTA_NAT_FLAGS: the address that was dialled tells where it goes.
        if (data.first(7)?.bigWord() ?? 0) & 64 != 0 {
            return [.target(NATTarget(isUnknown: true))]
        }
        let family = data.first(2)?.bigWord()
        let isIPv6: Bool? =
            family == UInt32(NATRuleset.ipv4)
            ? false : family == UInt32(NATRuleset.ipv6) ? true : nil
        return [
            .nat(
                address: register(data, 3), port: register(data, 5), lastPort: register(data, 6),
                isIPv6: isIPv6)
        ]
    }

    // MARK: Values

    /// NFTA_DATA_VALUE.
    private static func value(_ data: ArraySlice<UInt8>) -> [UInt8]? {
        guard let bytes = NetlinkAttributes(data).first(1), !bytes.isEmpty, bytes.count <= 64
        else { return nil }
        return Array(bytes)
    }

    /// A value or a verdict.
    static func data(_ data: ArraySlice<UInt8>) -> NATRuleset.Data? {
        if let bytes = value(data) { return .value(bytes) }
        guard let verdict = NetlinkAttributes(data).first(2).map(NetlinkAttributes.init),
            let code = verdict.first(1)?.bigWord().map({ Int32(bitPattern: $0) })
        else { return nil }
        let chain = verdict.first(2)?.exactName ?? ""
        switch code {
        case -1: return .verdict(.continues)
        case -3: return .verdict(.jump(chain))
        case -4: return .verdict(.goto(chain))
        case -5: return .verdict(.returns)
        default: return .verdict(.ends)
        }
    }
}
