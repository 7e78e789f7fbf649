internal import Posix
internal import Sockets
internal import TwinportModel

/// Reads the NAT rules of the calling thread's network namespace. Takes CAP_NET_ADMIN. Owned by the watcher's thread.
final class RuleReader {
    /// So many bytes are read at once, of all answers.
    private static let mostBytes = 32 << 20
    /// So many sets are read for their elements.
    private static let mostSets = 512
    private static let legacyNames = (v4: "ip_tables_names", v6: "ip6_tables_names")

    private var box: Box?
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    private var bytesLeft = 0

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
        bytesLeft = Self.mostBytes
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
        var end = try ask(box, NFTMessage.request(.chains), .chains) { family, chain in
            NFTMessage.note(chain: chain, family, in: &ruleset)
            return !ruleset.isCut
        }
        // Without a chain for NAT nothing else is of interest.
        if end == .whole, !ruleset.bases.isEmpty { end = try readRules(box, &ruleset) }
        if end == .whole, !ruleset.rules.isEmpty { end = try readSets(box, &ruleset) }
        if end == .cut { ruleset.isCut = true }
        return end == .outdated ? .outdated : .read(ruleset)
    }

    /// Reads the rules of tables that have chains for NAT.
    private func readRules(_ box: Box, _ ruleset: inout NATRuleset) throws(SystemError) -> End {
        let tables = Set(ruleset.bases.map { TableName($0.chain) })
        var count = 0
        return try ask(box, NFTMessage.request(.rules), .rules) { family, rule in
            let table = TableName(family: family, name: rule.first(1)?.exactName ?? "")
            guard tables.contains(table) else { return true }
            count += 1
            if count > NATRuleset.mostRules { return false }
            NFTMessage.note(rule: rule, family, in: &ruleset)
            return !ruleset.isCut
        }
    }

    /// Reads the sets that rules ask, while there is room for all of a set's elements.
    private func readSets(_ box: Box, _ ruleset: inout NATRuleset) throws(SystemError) -> End {
        var wanted: Set<NATRuleset.ID> = []
        for (chain, rules) in ruleset.rules {
            for name in rules.lazy.flatMap(\.steps).compactMap(\.set) {
                wanted.insert(
                    NATRuleset.ID(family: chain.family, table: chain.table, name: name))
            }
        }
        guard !wanted.isEmpty else { return .whole }
        var heads: [NFTMessage.SetHead] = []
        var end = try ask(box, NFTMessage.request(.sets), .sets) { family, set in
            if let head = NFTMessage.head(set: set, family), wanted.contains(head.id) {
                heads.append(head)
            }
            return heads.count <= Self.mostSets
        }
        var left = NATRuleset.mostElements
        for head in heads where end == .whole {
            var raw: [NFTMessage.RawElement] = []
            end = try ask(box, NFTMessage.request(.elements, of: head.id), .elements) {
                NFTMessage.note(elements: $1, in: &raw)
                return raw.count < left
            }
            if end == .whole { ruleset.sets[head.id] = NFTMessage.elements(raw, head) }
            left -= raw.count
        }
        return end
    }

    private struct TableName: Hashable {
        let family: UInt8
        let name: String

        init(family: UInt8, name: String) { (self.family, self.name) = (family, name) }
        init(_ id: NATRuleset.ID) { self.init(family: id.family, name: id.table) }
    }

    /// How an answer ended.
    private enum End {
        case whole
        /// The rules changed meanwhile.
        case outdated
        /// The rest of it was too much, and is not read.
        case cut
    }

    /// Asks, and reads the answer to its end.
    ///
    /// - Parameter body: Takes a message, and returns whether there is room for more.
    private func ask(
        _ box: Box, _ request: [UInt8], _ subject: NFTMessage.Subject,
        _ body: (UInt8, NetlinkAttributes) -> Bool
    ) throws(SystemError) -> End {
        // Of an answer that was not read to its end.
        box.socket.drain()
        try box.socket.send(request)
        var hasRoom = true
        while let count = try box.socket.receive(into: &buffer), count > 0 {
            bytesLeft -= count
            let progress = NFTMessage.read(buffer[..<min(count, buffer.count)], subject) {
                if hasRoom { hasRoom = body($0, $1) }
            }
            switch progress {
            case .more where hasRoom && bytesLeft > 0: continue
            case .more:
                // The kernel goes on with a dump for as long as its socket is there.
                self.box = nil
                return .cut
            case .whole: return hasRoom ? .whole : .cut
            case .outdated: return .outdated
            case .refused(let code):
                // ENOENT: a set that is gone. EINTR: as outdated.
                if code == 2 || code == 4 { return .outdated }
                throw SystemError("nftables", code)
            case .nonsense: throw SystemError("nftables", 74)
            }
        }
        return .outdated
    }

    /// A number that changes with every change of nftables; nil when it cannot be told.
    func generation() -> UInt32? {
        // What cannot be told now is asked again.
        guard let box = try? opened() else { return nil }
        bytesLeft = Self.mostBytes
        var number: UInt32?
        let end = try? ask(box, NFTMessage.request(.generation), .generation) {
            number = $1.first(1)?.bigWord()
            return true
        }
        return end == .whole ? number : nil
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
        guard let head = PacketFilter.natInfo(isIPv6: isIPv6) else { return nil }
        guard let info = LegacyTable.Info(head[...]) else {
            // It is too long.
            var nothing = NATRuleset()
            nothing.isCut = true
            return nothing
        }
        guard let entries = PacketFilter.natEntries(isIPv6: isIPv6, size: info.size)
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
