internal import TwinportModel

// nftables over netlink (`linux/netfilter/nf_tables.h`): what is asked, and what is answered. Pure; the answers come from
// the kernel, but what they say was written by others, so nothing in them is trusted.

/// Builds requests, and reads the answers into a ruleset.
enum NFTMessage {
    /// NFNL_SUBSYS_NFTABLES, in the upper half of a message's type.
    private static let subsystem: UInt16 = 10 << 8
    private static let headerSize = 16
    /// `struct nfgenmsg`.
    private static let messageSize = 4
    private static let error: UInt16 = 2
    private static let done: UInt16 = 3
    /// NLM_F_DUMP_INTR: the rules changed while they were read.
    private static let interrupted: UInt16 = 0x10

    /// NFNLGRP_NFTABLES.
    static let group: Int32 = 7

    /// What can be asked for.
    enum Subject: UInt16 {
        case chains = 4
        case rules = 7
        case sets = 10
        case elements = 13
        case generation = 16

        /// The type of the messages that answer.
        fileprivate var answer: UInt16 { subsystem | (rawValue - 1) }
    }

    /// Asks for everything of a kind, or for the elements of one set.
    static func request(_ subject: Subject, of set: NATRuleset.ID? = nil) -> [UInt8] {
        var body: [UInt8] = [set?.family ?? 0, 0, 0, 0]
        if let set {
            attribute(1, set.table, to: &body)
            attribute(2, set.name, to: &body)
        }
        // NLM_F_REQUEST, and NLM_F_DUMP where there can be several.
        let flags: UInt16 = subject == .generation ? 1 : 0x301
        return native(UInt32(headerSize + body.count)) + native(subsystem | subject.rawValue)
            + native(flags) + [UInt8](repeating: 0, count: 8) + body
    }

    private static func native<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        let big = number.littleEndian == number ? number : number.byteSwapped
        return (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: big >> (8 * $0)) }
    }

    private static func attribute(_ kind: UInt16, _ text: String, to body: inout [UInt8]) {
        let value = Array(text.utf8.prefix(1_000)) + [0]
        body += native(UInt16(4 + value.count)) + native(kind) + value
        body += [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    }

    /// What one datagram says of the answer.
    enum Progress: Equatable {
        case more
        case whole
        /// It has to be asked again.
        case outdated
        /// The kernel refuses, with this errno.
        case refused(Int32)
        case nonsense
    }

    /// Calls `body` with the family and the attributes of each message of an answer's datagram.
    static func read(
        _ bytes: ArraySlice<UInt8>, _ subject: Subject,
        _ body: (UInt8, NetlinkAttributes) -> Void
    ) -> Progress {
        var rest = bytes
        while rest.count >= headerSize {
            guard let length = rest.nativeWord(0).map(Int.init), let type = rest.nativeHalf(4),
                let flags = rest.nativeHalf(6), length >= headerSize, length <= rest.count
            else { return .nonsense }
            if flags & interrupted != 0 { return .outdated }
            let payload = rest.dropFirst(headerSize).prefix(length - headerSize)
            if type == done || type == error {
                let code = payload.nativeWord().map { 0 &- Int32(bitPattern: $0) } ?? 0
                return code == 0 ? .whole : .refused(code)
            }
            if type == subject.answer, let family = payload.first {
                body(family, NetlinkAttributes(payload.dropFirst(messageSize)))
                if subject == .generation { return .whole }
            }
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return rest.isEmpty ? .more : .nonsense
    }

    // MARK: Answers

    /// Notes a chain, if the kernel enters it for NAT.
    static func note(chain: NetlinkAttributes, _ family: UInt8, in ruleset: inout NATRuleset) {
        guard let table = chain.first(1), let name = chain.first(3),
            let hook = chain.first(4).map(NetlinkAttributes.init),
            chain.first(7)?.exactName == "nat",
            let place = hook.first(1)?.bigWord().flatMap(NATHook.init), isKnown(family)
        else { return }
        guard ruleset.bases.count < NATRuleset.mostBases else {
            ruleset.isCut = true
            return
        }
        let priority = hook.first(2)?.bigWord().map { Int32(bitPattern: $0) } ?? 0
        let id = NATRuleset.ID(family: family, table: table.exactName, name: name.exactName)
        ruleset.bases.append(NATRuleset.Base(chain: id, hook: place, priority: priority))
    }

    /// Notes a rule.
    static func note(rule: NetlinkAttributes, _ family: UInt8, in ruleset: inout NATRuleset) {
        guard let table = rule.first(1), let chain = rule.first(2), isKnown(family) else { return }
        let id = NATRuleset.ID(family: family, table: table.exactName, name: chain.exactName)
        let handle = rule.first(3)?.big(0, size: 8) ?? 0
        let comment = rule.first(7).map(comment) ?? ""
        let steps = rule.first(4).map { NFTExpression.steps($0, family) } ?? []
        ruleset.stepCount += steps.count
        guard ruleset.stepCount <= NATRuleset.mostSteps else {
            ruleset.isCut = true
            return
        }
        ruleset.rules[id, default: []].append(
            NATRuleset.Rule(number: "handle \(handle)", comment: comment, steps: steps))
    }

    private static func isKnown(_ family: UInt8) -> Bool {
        [NATRuleset.inet, NATRuleset.ipv4, NATRuleset.ipv6].contains(family)
    }

    /// The comment in what `nft` keeps beside a rule: fields of a kind, a length and bytes.
    private static func comment(_ userData: ArraySlice<UInt8>) -> String {
        var rest = userData
        while let kind = rest.first, let length = rest.dropFirst().first {
            guard let value = rest.part(2, Int(length)) else { break }
            if kind == 0 { return value.exactName }
            rest = rest.dropFirst(2 + Int(length))
        }
        return ""
    }

    /// The name of a set, and how its elements are to be read.
    struct SetHead: Equatable {
        var id: NATRuleset.ID
        /// Whether elements are the ends of ranges.
        var isOfRanges: Bool
    }

    static func head(set: NetlinkAttributes, _ family: UInt8) -> SetHead? {
        guard let table = set.first(1), let name = set.first(2), isKnown(family) else { return nil }
        let flags = set.first(3)?.bigWord() ?? 0
        // NFT_SET_INTERVAL, and not NFT_SET_CONCAT.
        return SetHead(
            id: NATRuleset.ID(family: family, table: table.exactName, name: name.exactName),
            isOfRanges: flags & 0x84 == 0x4)
    }

    /// An element as it is listed, and whether it is where a range ends.
    struct RawElement: Equatable {
        var element: NATRuleset.Element
        var isEnd: Bool
    }

    static func note(elements: NetlinkAttributes, in raw: inout [RawElement]) {
        guard let list = elements.first(3) else { return }
        for item in NetlinkAttributes(list) where raw.count < NATRuleset.mostElements {
            let fields = NetlinkAttributes(item.value)
            let key = fields.first(1).flatMap { NetlinkAttributes($0).first(1) }.map(Array.init)
            let end = fields.first(10).flatMap { NetlinkAttributes($0).first(1) }.map(Array.init)
            let flags = fields.first(3)?.bigWord() ?? 0
            // NFT_SET_ELEM_CATCHALL has no key.
            let isDefault = flags & 2 != 0
            guard key != nil || isDefault else { continue }
            let element = NATRuleset.Element(
                from: key ?? [], to: end ?? key ?? [], isDefault: isDefault,
                data: fields.first(2).flatMap(NFTExpression.data))
            raw.append(RawElement(element: element, isEnd: flags & 1 != 0))
        }
    }

    /// The elements of a set: of a set of ranges each begins at a key and ends before the next one.
    static func elements(_ raw: [RawElement], _ head: SetHead) -> [NATRuleset.Element] {
        guard head.isOfRanges else { return raw.filter { !$0.isEnd }.map(\.element) }
        let size = raw.first { !$0.element.isDefault }?.element.from.count ?? 0
        let sorted = raw.filter { !$0.element.isDefault && $0.element.from.count == size }
            .sorted { $0.element.from.lexicographicallyPrecedes($1.element.from) }
        var elements = raw.filter(\.element.isDefault).map(\.element)
        for (index, item) in sorted.enumerated() where !item.isEnd {
            var element = item.element
            element.to =
                index + 1 < sorted.count
                ? before(sorted[index + 1].element.from) : [UInt8](repeating: 0xff, count: size)
            elements.append(element)
        }
        return elements
    }

    /// The number before another, byte by byte; of zero the highest.
    private static func before(_ key: [UInt8]) -> [UInt8] {
        var key = key
        for index in key.indices.reversed() {
            key[index] &-= 1
            if key[index] != 0xff { break }
        }
        return key
    }
}
