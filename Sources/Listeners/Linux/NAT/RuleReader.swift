internal import Posix
internal import Sockets
internal import TwinportModel

/// Reads the NAT rules of the calling thread's network namespace. Takes CAP_NET_ADMIN. Owned by the watcher's thread.
final class RuleReader {
    /// So many bytes of an answer are read.
    private static let mostBytes = 32 << 20
    /// So many sets are read for their elements.
    private static let mostSets = 512
    private static let legacyNames = (v4: "ip_tables_names", v6: "ip6_tables_names")

    private var box: Box?
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    private final class Box {
        let socket: DiagSocket
        init() throws(SystemError) { socket = try DiagSocket(about: .filters) }
    }

    /// What reading came to.
    enum Outcome {
        case read(NATRuleset)
        /// The rules changed meanwhile.
        case outdated
        /// In words.
        case refused(String)
    }

    /// Reads all of nftables.
    func nftables() -> Outcome {
        do throws(SystemError) {
            let box = try opened()
            return try read(box)
        } catch {
            self.box = nil
            return .refused(Self.why(error))
        }
    }

    private func opened() throws(SystemError) -> Box {
        if let box { return box }
        let box = try Box()
        self.box = box
        return box
    }

    private static func why(_ error: SystemError) -> String {
        error.isPermissionDenied
            ? "needs CAP_NET_ADMIN" : "the kernel has no nftables (\(error))"
    }

    private func read(_ box: Box) throws(SystemError) -> Outcome {
        var ruleset = NATRuleset()
        var count = 0
        var isWhole = try ask(box, NFTMessage.request(.chains), .chains) { family, chain in
            NFTMessage.note(chain: chain, family, in: &ruleset)
        }
        // Without a chain for NAT nothing else is of interest.
        guard isWhole, !ruleset.bases.isEmpty else { return isWhole ? .read(ruleset) : .outdated }
        isWhole = try ask(box, NFTMessage.request(.rules), .rules) { family, rule in
            count += 1
            if count <= NATRuleset.mostRules {
                NFTMessage.note(rule: rule, family, in: &ruleset)
            } else {
                ruleset.isCut = true
            }
        }
        guard isWhole else { return .outdated }
        return try readSets(box, &ruleset) ? .read(ruleset) : .outdated
    }

    /// Reads the sets that rules of NAT tables ask.
    private func readSets(_ box: Box, _ ruleset: inout NATRuleset) throws(SystemError) -> Bool {
        var wanted: Set<NATRuleset.ID> = []
        let tables = Set(ruleset.bases.map { TableName($0.chain) })
        for (chain, rules) in ruleset.rules where tables.contains(TableName(chain)) {
            for name in rules.lazy.flatMap(\.steps).compactMap(\.set) {
                wanted.insert(
                    NATRuleset.ID(family: chain.family, table: chain.table, name: name))
            }
        }
        guard !wanted.isEmpty else { return true }
        var heads: [NFTMessage.SetHead] = []
        let isWhole = try ask(box, NFTMessage.request(.sets), .sets) { family, set in
            guard let head = NFTMessage.head(set: set, family), wanted.contains(head.id) else {
                return
            }
            heads.append(head)
        }
        if heads.count > Self.mostSets { ruleset.isCut = true }
        for head in heads.prefix(Self.mostSets) where isWhole {
            var raw: [NFTMessage.RawElement] = []
            let request = NFTMessage.request(.elements, of: head.id)
            guard try ask(box, request, .elements, { NFTMessage.note(elements: $1, in: &raw) })
            else { return false }
            if raw.count >= NATRuleset.mostElements { ruleset.isCut = true }
            ruleset.sets[head.id] = NFTMessage.elements(raw, head)
        }
        return isWhole
    }

    private struct TableName: Hashable {
        let family: UInt8
        let name: String
        init(_ id: NATRuleset.ID) { (family, name) = (id.family, id.table) }
    }

    /// Asks, and reads the answer to its end.
    ///
    /// - Returns: False when the rules changed meanwhile.
    private func ask(
        _ box: Box, _ request: [UInt8], _ subject: NFTMessage.Subject,
        _ body: (UInt8, NetlinkAttributes) -> Void
    ) throws(SystemError) -> Bool {
        // Of an answer that was not read to its end.
        box.socket.drain()
        try box.socket.send(request)
        var total = 0
        while total < Self.mostBytes, let count = try box.socket.receive(into: &buffer), count > 0 {
            total += count
            switch NFTMessage.read(buffer[..<min(count, buffer.count)], subject, body) {
            case .more: continue
            case .whole: return true
            case .outdated: return false
            case .refused(let code):
                // ENOENT: a set that is gone. EINTR: as outdated.
                if code == 2 || code == 4 { return false }
                throw SystemError("nftables", code)
            case .nonsense: throw SystemError("nftables", 74)
            }
        }
        return false
    }

    /// A number that changes with every change of nftables; nil when it cannot be told.
    func generation() -> UInt32? {
        // What cannot be told now is asked again.
        guard let box = try? opened() else { return nil }
        var number: UInt32?
        let isTold = try? ask(box, NFTMessage.request(.generation), .generation) {
            number = $1.first(1)?.bigWord()
        }
        return isTold == true ? number : nil
    }

    // MARK: iptables-legacy

    /// Whether the kernel has a NAT table of the older filter. To ask that filter for one would make it.
    static func hasLegacy(isIPv6: Bool) -> Bool {
        let name = isIPv6 ? legacyNames.v6 : legacyNames.v4
        let text = SystemFiles.text("/proc/thread-self/net/\(name)") ?? ""
        return text.split(separator: "\n").contains("nat")
    }

    /// Reads that table; nil when it cannot be read.
    func legacy(isIPv6: Bool) -> NATRuleset? {
        guard let head = PacketFilter.natInfo(isIPv6: isIPv6),
            let info = LegacyTable.Info(head[...]),
            let entries = PacketFilter.natEntries(isIPv6: isIPv6, size: info.size)
        else { return nil }
        return LegacyTable.ruleset(info, entries[...], isIPv6: isIPv6)
    }
}

extension NATStep {
    /// The set or map that it asks.
    fileprivate var set: String? {
        switch self {
        case .lookup(_, let name, _, _), .decide(_, let name): name
        default: nil
        }
    }
}
