internal import TwinportModel

// The NAT rules of a machine as values, whichever of the kernel's two packet filters has them (`NFTMessage`,
// `LegacyTable`). Only what finding published ports takes is kept.

/// Chains, their rules, and the sets that these ask.
struct NATRuleset: Equatable {
    /// Names a chain or a set.
    struct ID: Hashable {
        /// As in NFPROTO_IPV4.
        var family: UInt8
        var table: String
        var name: String
    }

    /// One rule.
    struct Rule: Equatable {
        /// The number that the kernel gave it, as `handle 7` or `rule 3`.
        var number: String
        /// What its author wrote beside it.
        var comment = ""
        var steps: [NATStep]
    }

    /// A chain that the kernel enters by itself.
    struct Base: Hashable {
        var chain: ID
        var hook: NATHook
        var priority: Int32
    }

    /// One element of a set or map.
    struct Element: Equatable {
        var from: [UInt8]
        /// The last one, equal to `from` for a single key.
        var to: [UInt8]
        var isDefault = false
        var data: Data?
    }

    /// What a map gives.
    enum Data: Equatable {
        case value([UInt8])
        case verdict(NATVerdict)
    }

    var bases: [Base] = []
    var rules: [ID: [Rule]] = [:]
    var sets: [ID: [Element]] = [:]
    /// How many steps nftables' rules have.
    var stepCount = 0
    /// Whether there is more than is kept.
    var isCut = false

    /// How much is looked at: rules, their steps, elements of all sets together, chains that the kernel enters.
    static let mostRules = 20_000
    static let mostSteps = 200_000
    static let mostElements = 20_000
    static let mostBases = 1_024
    /// NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6.
    static let inet: UInt8 = 1
    static let ipv4: UInt8 = 2
    static let ipv6: UInt8 = 10

    /// Adds what another filter has.
    mutating func add(_ other: NATRuleset) {
        bases += other.bases
        rules.merge(other.rules) { $0 + $1 }
        sets.merge(other.sets) { mine, _ in mine }
        isCut = isCut || other.isCut
    }
}

/// Where packets are when a chain is entered.
enum NATHook: UInt32 {
    /// They came from another machine, or from a container.
    case prerouting = 0
    /// A program of this machine sent them.
    case output = 3
}

/// What becomes of a packet.
enum NATVerdict: Hashable {
    /// No rule of any chain of this hook is asked any more.
    case ends
    case returns
    case jump(String)
    case goto(String)
    case continues
}

/// Where a rule sends connections.
struct NATTarget: Hashable {
    /// Nil: to this machine itself (`redirect`), or to the address that was dialled.
    var address: IPAddress?
    /// Nil: to the port that was dialled.
    var ports: ClosedRange<Port>?
    /// The dialled port that goes to the first of these, the next one to the next; nil: they are not in that order.
    var base: Port?
    var isRedirect = false
    /// Whether the rule has a target that cannot be told from the rule alone.
    var isUnknown = false

    /// Where a port goes that was dialled.
    func port(for dialled: Port) -> Port {
        guard let ports else { return dialled }
        if let base {
            let step = Int(dialled) - Int(base)
            return (0..<ports.count).contains(step)
                ? ports.lowerBound + Port(step) : ports.lowerBound
        }
        return ports.contains(dialled) ? dialled : ports.lowerBound
    }

    /// As `nft`, or `iptables`, writes it.
    var text: String {
        let port = ports.map {
            $0.count == 1 ? ":\($0.lowerBound)" : ":\($0.lowerBound)-\($0.upperBound)"
        }.map { $0 + (base.map { "/\($0)" } ?? "") }
        if isRedirect { return "redirect" + (port.map { " to \($0)" } ?? "") }
        if isUnknown { return "dnat" }
        guard let address else { return "dnat to \(port ?? "?")" }
        let host = address.isIPv6 && port != nil ? "[\(address)]" : "\(address)"
        return "dnat to \(host)\(port ?? "")"
    }
}

/// What a rule's step compares.
enum NATField: Hashable {
    /// Bytes of a header: 1 is the network's, 2 TCP's or UDP's.
    case payload(base: UInt32, offset: Int)
    case family
    case transport
    case inInterface
    case outInterface
    /// 1 stands for `lo` in either direction.
    case inIndex
    case outIndex
    case destinationType
    case sourceType
    /// A number by chance or by a hash: every value is possible.
    case chance
    /// What is not known here, by its name.
    case unreadable(String)
}

enum NATComparison: UInt32 {
    case equal = 0
    case notEqual = 1
    case less = 2
    case lessOrEqual = 3
    case greater = 4
    case greaterOrEqual = 5
}

/// One step of a rule, as the kernel runs them. Registers are counted in words of four bytes.
enum NATStep: Equatable {
    case load(NATField, size: Int, to: Int)
    case mask(Int, [UInt8], to: Int)
    case value([UInt8], to: Int)
    case compare(Int, NATComparison, [UInt8])
    case range(Int, isNegated: Bool, from: [UInt8], to: [UInt8])
    case lookup(Int, set: String, isNegated: Bool, to: Int?)
    /// What a map gives decides at once.
    case decide(Int, map: String)
    case verdict(NATVerdict)
    case nat(address: Int?, port: Int?, lastPort: Int?, isIPv6: Bool?)
    case redirect(port: Int?, lastPort: Int?)
    /// What an extension of iptables asks, or an old iptables rule.
    case condition(NATCondition)
    /// The same, as a target.
    case target(NATTarget)
}

/// One thing that a rule asks of a packet.
enum NATCondition: Equatable {
    case family(isIPv6: Bool)
    case transport(UInt8, isNegated: Bool)
    case ports([ClosedRange<Port>])
    case destination(AddressBlock, isNegated: Bool)
    case destinationIsOwn(Bool)
    /// Whether the client is this machine itself.
    case sourceIsOwn(Bool)
    case source(AddressBlock?, isNegated: Bool)
    case inInterface(String, isNegated: Bool)
    case outInterface(String, isNegated: Bool)
    /// No packet to this machine meets it.
    case never
    case comment(String)
    /// What is not understood, by its name.
    case unreadable(String)
}

/// The addresses that have some bits in common.
struct AddressBlock: Hashable {
    /// 4 or 16 bytes.
    let bytes: [UInt8]
    let mask: [UInt8]

    /// Of a whole address, or of its beginning.
    init?(_ bytes: ArraySlice<UInt8>, mask: ArraySlice<UInt8>? = nil, isIPv6: Bool) {
        let size = isIPv6 ? 16 : 4
        guard !bytes.isEmpty, bytes.count <= size, mask.map({ $0.count == bytes.count }) ?? true
        else { return nil }
        let padding = [UInt8](repeating: 0, count: size - bytes.count)
        self.bytes = Array(bytes) + padding
        self.mask = (mask.map(Array.init) ?? bytes.map { _ in 0xff }) + padding
    }

    /// Whether it is one address.
    var isSingle: Bool { mask.allSatisfy { $0 == 0xff } }

    /// Whether it is every address.
    var isAll: Bool { mask.allSatisfy { $0 == 0 } }

    func contains(_ address: IPAddress) -> Bool {
        let other = address.networkBytes
        guard other.count == bytes.count else { return false }
        return bytes.indices.allSatisfy { bytes[$0] & mask[$0] == other[$0] & mask[$0] }
    }
}

extension IPAddress {
    /// In network order.
    var networkBytes: [UInt8] {
        switch self {
        case .v4(let address):
            (0..<4).map { UInt8(truncatingIfNeeded: address.bits >> (24 - 8 * $0)) }
        case .v6(let address):
            [address.high, address.low].flatMap { half in
                (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) }
            }
        }
    }

    /// From 4 or 16 bytes in network order.
    init?(networkBytes bytes: ArraySlice<UInt8>) {
        if bytes.count == 4, let bits = bytes.bigWord() {
            self = .v4(IPv4Address(bits: bits))
        } else if bytes.count == 16, let high = bytes.big(0, size: 8),
            let low = bytes.big(8, size: 8)
        {
            self = IPAddress.v6(IPv6Address(high: high, low: low)).unmapped
        } else {
            return nil
        }
    }
}
