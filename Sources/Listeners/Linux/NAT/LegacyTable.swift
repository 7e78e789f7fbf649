internal import TwinportModel

// The NAT table of the kernel's older packet filter, `iptables-legacy` (`linux/netfilter_ipv4/ip_tables.h`), as
// IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES give it. Pure.

/// Reads a table.
enum LegacyTable {
    /// Where things stand in `struct ipt_entry` and `struct ip6t_entry`.
    private struct Layout {
        let isIPv6: Bool
        var addressSize: Int { isIPv6 ? 16 : 4 }
        var interfaces: Int { 4 * addressSize }
        var transport: Int { interfaces + 64 }
        var flags: Int { isIPv6 ? 131 : 82 }
        var targetOffset: Int { isIPv6 ? 140 : 88 }
        var size: Int { isIPv6 ? 168 : 112 }
    }

    /// `struct ipt_getinfo`, beyond its name.
    struct Info: Equatable {
        let hooks: UInt32
        /// Where the chains of the hooks begin.
        let starts: [Int]
        let size: Int

        init?(_ bytes: ArraySlice<UInt8>) {
            guard let hooks = bytes.nativeWord(32), let size = bytes.nativeWord(80), size <= 8 << 20
            else { return nil }
            self.hooks = hooks
            self.size = Int(size)
            starts = (0..<5).map { bytes.nativeWord(36 + 4 * $0).map(Int.init) ?? 0 }
        }
    }

    private static let builtIn = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]

    /// One entry: where it is, and what is in it.
    private struct Entry {
        let offset: Int
        let bytes: ArraySlice<UInt8>
        /// The name of the chain that begins here.
        var chain: String?
    }

    /// The rules in a table's entries.
    static func ruleset(_ info: Info, _ bytes: ArraySlice<UInt8>, isIPv6: Bool) -> NATRuleset {
        let layout = Layout(isIPv6: isIPv6)
        let entries = entries(bytes, info, layout)
        var ruleset = NATRuleset()
        ruleset.isCut = entries.count >= NATRuleset.mostRules
        let family = isIPv6 ? NATRuleset.ipv6 : NATRuleset.ipv4
        func id(_ name: String) -> NATRuleset.ID {
            NATRuleset.ID(family: family, table: "nat (iptables-legacy)", name: name)
        }
        for hook in [NATHook.prerouting, .output] where info.hooks & 1 << hook.rawValue != 0 {
            ruleset.bases.append(
                NATRuleset.Base(
                    chain: id(builtIn[Int(hook.rawValue)]), hook: hook, priority: -100))
        }
        // A jump names the first rule of a chain, by its place.
        var names: [Int: String] = [:]
        var name = ""
        for entry in entries {
            if let begins = entry.chain { name = begins }
            if names[entry.offset] == nil { names[entry.offset] = name }
        }
        name = ""
        for entry in entries {
            if let begins = entry.chain {
                name = begins
                if !builtIn.contains(begins) || isHead(entry, layout) { continue }
            }
            let count = ruleset.rules[id(name)]?.count ?? 0
            ruleset.rules[id(name), default: []].append(
                NATRuleset.Rule(
                    number: "rule \(count + 1)", steps: steps(entry, layout, names, family)))
        }
        return ruleset
    }

    private static func entries(
        _ bytes: ArraySlice<UInt8>, _ info: Info, _ layout: Layout
    ) -> [Entry] {
        var entries: [Entry] = []
        var offset = 0
        while entries.count < NATRuleset.mostRules, bytes.count - offset >= layout.size,
            let next = bytes.nativeHalf(offset + layout.targetOffset + 2).map(Int.init),
            next >= layout.size, let whole = bytes.part(offset, next)
        {
            var entry = Entry(offset: offset, bytes: whole)
            if let hook = (0..<5).first(where: {
                info.hooks & 1 << UInt32($0) != 0 && info.starts[$0] == offset
            }) {
                entry.chain = builtIn[hook]
            } else if isHead(entry, layout) {
                entry.chain = target(entry, layout).flatMap { $0.part(32, 30)?.exactName }
            }
            entries.append(entry)
            offset += next
        }
        return entries
    }

    /// The target of an entry, with its head.
    private static func target(_ entry: Entry, _ layout: Layout) -> ArraySlice<UInt8>? {
        guard let offset = entry.bytes.nativeHalf(layout.targetOffset).map(Int.init),
            let size = entry.bytes.nativeHalf(offset).map(Int.init), size >= 32
        else { return nil }
        return entry.bytes.part(offset, size)
    }

    /// Whether an entry is the head of a chain, or the table's end: its target is called ERROR.
    private static func isHead(_ entry: Entry, _ layout: Layout) -> Bool {
        target(entry, layout)?.part(2, 29)?.exactName == "ERROR"
    }

    // MARK: One rule

    private static func steps(
        _ entry: Entry, _ layout: Layout, _ names: [Int: String], _ family: UInt8
    ) -> [NATStep] {
        var steps = conditions(entry.bytes, layout).map { NATStep.condition($0) }
        guard let target = target(entry, layout),
            let end = entry.bytes.nativeHalf(layout.targetOffset).map(Int.init)
        else { return [.condition(.never)] }
        var offset = layout.size
        while offset < end, let size = entry.bytes.nativeHalf(offset).map(Int.init), size >= 32,
            let match = entry.bytes.part(offset, size)
        {
            let name = match.part(2, 29)?.exactName ?? ""
            let revision = UInt32(match.part(31, 1)?.first ?? 0)
            steps += CompatBlob.match(name, revision, match.dropFirst(32))
            offset += size
        }
        return steps + verdict(target, entry, layout, names, family)
    }

    private static func verdict(
        _ target: ArraySlice<UInt8>, _ entry: Entry, _ layout: Layout, _ names: [Int: String],
        _ family: UInt8
    ) -> [NATStep] {
        let name = target.part(2, 29)?.exactName ?? ""
        guard name.isEmpty else {
            let revision = UInt32(target.part(31, 1)?.first ?? 0)
            return CompatBlob.target(name, revision, target.dropFirst(32), family)
        }
        let number = target.nativeWord(32).map { Int32(bitPattern: $0) } ?? -1
        if number == -5 { return [.verdict(.returns)] }
        guard number >= 0 else { return [.verdict(.ends)] }
        // A rule without a target leads to the next one.
        if Int(number) == entry.offset + entry.bytes.count { return [.verdict(.continues)] }
        guard let chain = names[Int(number)] else { return [.condition(.never)] }
        // IPT_F_GOTO.
        let isGoto = entry.bytes.part(layout.flags, 1)?.first.map { $0 & 2 != 0 } ?? false
        return [.verdict(isGoto ? .goto(chain) : .jump(chain))]
    }

    /// `struct ipt_ip`: addresses, masks, interfaces and their masks, a protocol, and which of these are inverted.
    private static func conditions(
        _ bytes: ArraySlice<UInt8>, _ layout: Layout
    ) -> [NATCondition] {
        let inverted = bytes.part(layout.flags + 1, 1)?.first ?? 0
        var found: [NATCondition] = []
        func block(_ index: Int) -> AddressBlock? {
            guard let value = bytes.part(index * layout.addressSize, layout.addressSize),
                let mask = bytes.part((index + 2) * layout.addressSize, layout.addressSize)
            else { return nil }
            return AddressBlock(value, mask: mask, isIPv6: layout.isIPv6)
        }
        if let source = block(0), !source.isAll {
            found.append(.source(source, isNegated: inverted & 0x8 != 0))
        }
        if let destination = block(1), !destination.isAll {
            found.append(.destination(destination, isNegated: inverted & 0x10 != 0))
        }
        if let name = interface(bytes, layout, 0) {
            found.append(.inInterface(name, isNegated: inverted & 0x1 != 0))
        }
        if let name = interface(bytes, layout, 1) {
            found.append(.outInterface(name, isNegated: inverted & 0x2 != 0))
        }
        if let number = bytes.nativeHalf(layout.transport), number != 0 {
            found.append(
                .transport(UInt8(truncatingIfNeeded: number), isNegated: inverted & 0x40 != 0))
        }
        return found
    }

    private static func interface(
        _ bytes: ArraySlice<UInt8>, _ layout: Layout, _ index: Int
    ) -> String? {
        guard let name = bytes.part(layout.interfaces + 16 * index, 16),
            let mask = bytes.part(layout.interfaces + 32 + 16 * index, 16),
            mask.contains(where: { $0 != 0 })
        else { return nil }
        // Of `eth+` only the beginning counts.
        let isWhole = zip(name, mask).contains { $0.0 == 0 && $0.1 != 0 }
        return name.name + (isWhole ? "" : "*")
    }
}
