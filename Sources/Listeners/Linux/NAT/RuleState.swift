internal import TwinportModel

/// What is known while a rule's steps are followed: the way so far, and what the registers hold. Pure.
struct RuleState {
    private static let registers = 16

    private(set) var way: NATWay
    private var cells = [Cell](repeating: .empty, count: registers)

    /// One word of the registers.
    private enum Cell: Equatable {
        case empty
        /// The word of a field, its size in bytes, and which of its bits are left.
        case field(NATField, word: Int, size: Int, mask: [UInt8]?)
        /// Up to four bytes.
        case bytes([UInt8])
    }

    init(_ way: NATWay) {
        self.way = way
    }

    /// The state after a step that neither decides nor asks a set; nil: no connection gets further.
    func after(_ step: NATStep, at hook: NATHook) -> RuleState? {
        var state = self
        switch step {
        case .load(let field, let size, let slot): state.load(field, size, slot)
        case .mask(let from, let mask, let to): state.mask(from, mask, to)
        case .value(let bytes, let slot): state.put(bytes, slot)
        case .condition(let condition): return meeting([condition], hook)
        case .compare(let slot, let comparison, let value):
            return meeting(comparing(slot, comparison, value), hook)
        case .range(let slot, let isNegated, let from, let to):
            return meeting(within(slot, isNegated, from, to), hook)
        default: break
        }
        return state
    }

    private func meeting(_ conditions: [NATCondition], _ hook: NATHook) -> RuleState? {
        var state = self
        for condition in conditions {
            guard let way = state.way.meeting(condition, at: hook) else { return nil }
            state.way = way
        }
        return state
    }

    // MARK: Registers

    private mutating func load(_ field: NATField, _ size: Int, _ slot: Int) {
        for word in 0..<(size + 3) / 4 where cells.indices.contains(slot + word) {
            cells[slot + word] = .field(field, word: word, size: size, mask: nil)
        }
    }

    private mutating func mask(_ from: Int, _ mask: [UInt8], _ to: Int) {
        for word in 0..<(mask.count + 3) / 4
        where cells.indices.contains(from + word) && cells.indices.contains(to + word) {
            guard case .field(let field, let place, let size, _) = cells[from + word] else {
                continue
            }
            cells[to + word] = .field(field, word: place, size: size, mask: mask)
        }
    }

    private mutating func put(_ bytes: [UInt8], _ slot: Int) {
        for word in 0..<(bytes.count + 3) / 4 where cells.indices.contains(slot + word) {
            cells[slot + word] = .bytes(Array(bytes[(4 * word)..<min(bytes.count, 4 * word + 4)]))
        }
    }

    /// The field that begins in a register.
    private func field(_ slot: Int) -> (field: NATField, size: Int, mask: [UInt8]?)? {
        guard cells.indices.contains(slot),
            case .field(let field, 0, let size, let mask) = cells[slot]
        else { return nil }
        return (field, size, mask)
    }

    private func comparing(
        _ slot: Int, _ comparison: NATComparison, _ value: [UInt8]
    ) -> [NATCondition] {
        guard let (field, _, mask) = field(slot) else { return [.unreadable("cmp")] }
        let value = value[...]
        switch comparison {
        case .equal, .notEqual:
            return FieldTest(field, way, mask).equals(value, isNegated: comparison == .notEqual)
        case .less, .lessOrEqual, .greater, .greaterOrEqual:
            guard FieldTest.isPort(field), mask == nil, let port = value.bigHalf(0) else {
                return [.unreadable("cmp")]
            }
            switch comparison {
            case .less: return [port == 0 ? .never : .ports([0...(port - 1)])]
            case .lessOrEqual: return [.ports([0...port])]
            case .greater: return [port == .max ? .never : .ports([(port + 1)...Port.max])]
            default: return [.ports([port...Port.max])]
            }
        }
    }

    private func within(
        _ slot: Int, _ isNegated: Bool, _ from: [UInt8], _ to: [UInt8]
    ) -> [NATCondition] {
        guard case (let field, _, nil)? = self.field(slot) else { return [.unreadable("range")] }
        return FieldTest(field, way, nil).within(from[...], to[...], isNegated: isNegated)
    }

    // MARK: Sets

    /// The state of connections that are in a set of ports or of many clients, if there is one, for all its elements at
    /// once; nil: each element has a state of its own.
    func joining(
        _ elements: [NATRuleset.Element], _ slot: Int, _ hook: NATHook
    ) -> [RuleState]? {
        guard elements.allSatisfy({ $0.data == nil && !$0.isDefault }),
            case (let field, _, nil)? = self.field(slot)
        else { return nil }
        if FieldTest.isPort(field) {
            return meeting([.ports(elements.compactMap(Self.ports))], hook).map { [$0] } ?? []
        }
        guard elements.count > 1, FieldTest(field, way, nil).isAboutSource else { return nil }
        return meeting([.source(nil, isNegated: false)], hook).map { [$0] } ?? []
    }

    /// The state of connections that an element of a set stands for, with what a map gives in a register.
    func meeting(
        _ element: NATRuleset.Element, _ slot: Int, to target: Int?, _ hook: NATHook
    ) -> RuleState? {
        guard var state = meeting(asking(element, slot), hook) else { return nil }
        if let target, case .value(let bytes)? = element.data { state.put(bytes, target) }
        return state
    }

    private static func ports(_ element: NATRuleset.Element) -> ClosedRange<Port>? {
        guard let from = element.from[...].bigHalf(0), let to = element.to[...].bigHalf(0),
            from <= to
        else { return nil }
        return from...to
    }

    /// What an element asks of the fields that make up a set's key.
    private func asking(_ element: NATRuleset.Element, _ slot: Int) -> [NATCondition] {
        if element.isDefault { return [] }
        var conditions: [NATCondition] = []
        var (offset, slot) = (0, slot)
        while offset < element.from.count {
            guard let (field, size, mask) = field(slot) else {
                return conditions + [.unreadable("lookup")]
            }
            let count = min(size, element.from.count - offset)
            guard let from = element.from[...].part(offset, count),
                let to = element.to[...].part(offset, count)
            else { return [.never] }
            let test = FieldTest(field, way, mask)
            conditions +=
                from.elementsEqual(to)
                ? test.equals(from, isNegated: false) : test.within(from, to, isNegated: false)
            let words = max(1, (size + 3) / 4)
            offset += 4 * words
            slot += words
        }
        return conditions
    }

    /// The state of connections that are not in a set; nil: what is in it was not read.
    func lackingAll(
        _ elements: [NATRuleset.Element]?, _ slot: Int, _ hook: NATHook
    ) -> RuleState {
        var conditions: [NATCondition] = [.unreadable("a set")]
        if let elements, case (let field, _, nil)? = self.field(slot) {
            let test = FieldTest(field, way, nil)
            if FieldTest.isPort(field) {
                conditions = [.ports(PortSet.complement(elements.compactMap(Self.ports)))]
            } else if elements.count <= 64, elements.allSatisfy({ $0.from == $0.to }) {
                conditions = elements.flatMap { test.equals($0.from[...], isNegated: true) }
            } else if test.isAboutSource {
                conditions = [.source(nil, isNegated: true)]
            }
        }
        return meeting(conditions, hook) ?? self
    }

    // MARK: Targets

    /// Where a step that ends a rule sends connections.
    func target(of step: NATStep) -> NATTarget? {
        switch step {
        case .target(let target): return target
        case .redirect(let port, let last):
            return NATTarget(ports: ports(port, last), isRedirect: true)
        case .nat(let address, let port, let last, let isIPv6):
            var target = NATTarget(ports: ports(port, last))
            if let address {
                let size = (isIPv6 ?? way.isIPv6) == true ? 16 : 4
                target.address = IPAddress(networkBytes: bytes(address, size)[...])
                target.isUnknown = target.address == nil
            }
            if port != nil, target.ports == nil { target.isUnknown = true }
            return target
        default: return nil
        }
    }

    private func ports(_ first: Int?, _ last: Int?) -> ClosedRange<Port>? {
        guard let first, let from = bytes(first, 2)[...].bigHalf(0) else { return nil }
        let to = last.flatMap { bytes($0, 2)[...].bigHalf(0) } ?? from
        return from <= to ? from...to : nil
    }

    /// The bytes that registers hold from one on; fewer where they hold something else.
    private func bytes(_ slot: Int, _ size: Int) -> [UInt8] {
        var found: [UInt8] = []
        var slot = slot
        while found.count < size, cells.indices.contains(slot), case .bytes(let more) = cells[slot]
        {
            found += more
            slot += 1
        }
        return Array(found.prefix(size))
    }
}

/// What it means that a field of a packet has a value. Pure.
struct FieldTest {
    private let field: NATField
    private let way: NATWay
    private let mask: [UInt8]?

    init(_ field: NATField, _ way: NATWay, _ mask: [UInt8]?) {
        self.field = field
        self.way = way
        self.mask = mask
    }

    /// Whether it is the destination port alone.
    static func isPort(_ field: NATField) -> Bool { field == .payload(base: 2, offset: 2) }

    /// Whether it is about clients only.
    var isAboutSource: Bool {
        guard case .payload(1, let offset) = field else { return false }
        return offset == (way.isIPv6 == true ? 8 : 12)
    }

    /// That it is this, or begins like this.
    func equals(_ value: ArraySlice<UInt8>, isNegated: Bool) -> [NATCondition] {
        switch field {
        case .payload(let base, let offset):
            return header(base, offset, value, isNegated)
        case .family:
            let isIPv6 = value.first == NATRuleset.ipv6
            return [.family(isIPv6: isIPv6 != isNegated)]
        case .transport: return [.transport(value.first ?? 0, isNegated: isNegated)]
        case .inInterface: return [.inInterface(name(value), isNegated: isNegated)]
        case .outInterface: return [.outInterface(name(value), isNegated: isNegated)]
        // `lo` is the first interface of every network.
        case .inIndex, .outIndex:
            let index = value.nativeWord() ?? 0
            let name = index == 1 ? "lo" : "interface \(index)"
            return [
                field == .inIndex
                    ? .inInterface(name, isNegated: isNegated)
                    : .outInterface(name, isNegated: isNegated)
            ]
        // RTN_LOCAL.
        case .destinationType:
            return [.destinationIsOwn((value.nativeWord() == 2) != isNegated)]
        case .sourceType:
            return [.sourceIsOwn((value.nativeWord() == 2) != isNegated)]
        case .chance: return []
        case .unreadable(let what): return [.unreadable(what)]
        }
    }

    private func name(_ value: ArraySlice<UInt8>) -> String {
        // Of `eth*` only the beginning is compared.
        value.name + (value.contains(0) ? "" : "*")
    }

    /// That it is in a range.
    func within(
        _ from: ArraySlice<UInt8>, _ to: ArraySlice<UInt8>, isNegated: Bool
    ) -> [NATCondition] {
        if Self.isPort(field), let first = from.bigHalf(0), let last = to.bigHalf(0), first <= last
        {
            return [.ports(isNegated ? PortSet.complement([first...last]) : [first...last])]
        }
        if field == .chance { return [] }
        if isAboutSource { return [.source(nil, isNegated: isNegated)] }
        guard case .payload(1, let offset) = field, offset == (way.isIPv6 == true ? 24 : 16),
            let block = Self.block(from, to, isIPv6: way.isIPv6 == true)
        else { return [.unreadable("a range")] }
        return [.destination(block, isNegated: isNegated)]
    }

    /// The block of addresses that a range is; nil: it is none.
    private static func block(
        _ from: ArraySlice<UInt8>, _ to: ArraySlice<UInt8>, isIPv6: Bool
    ) -> AddressBlock? {
        let mask = zip(from, to).map { ~($0 ^ $1) }
        let block = AddressBlock(from, mask: mask[...], isIPv6: isIPv6)
        // From all bits 0 to all bits 1 behind the mask.
        let isWhole = zip(zip(from, to), mask).allSatisfy { ends, mask in
            ends.0 & ~mask == 0 && ends.1 | mask == 0xff
        }
        return isWhole ? block : nil
    }

    /// Bytes of a header, which may be several fields side by side.
    private func header(
        _ base: UInt32, _ offset: Int, _ value: ArraySlice<UInt8>, _ isNegated: Bool
    ) -> [NATCondition] {
        var conditions: [NATCondition] = []
        var covered = 0
        for known in Known.fields(base, isIPv6: way.isIPv6 == true) {
            let start = known.offset - offset
            let count = min(known.size, value.count - start)
            guard start >= 0, count > 0, let bytes = value.part(start, count) else { continue }
            covered += count
            let mask = mask.flatMap { $0[...].part(start, count) }
            conditions.append(condition(known, bytes, mask, isNegated))
        }
        let isWhole = covered == value.count && !(isNegated && conditions.count > 1)
        return isWhole ? conditions : conditions + [.unreadable("a header")]
    }

    /// The fields of headers that are understood.
    private enum Known {
        case transport(at: Int)
        case source(at: Int, size: Int)
        case destination(at: Int, size: Int)
        case sourcePort
        case port

        static func fields(_ base: UInt32, isIPv6: Bool) -> [Known] {
            switch base {
            case 1 where isIPv6:
                [.transport(at: 6), .source(at: 8, size: 16), .destination(at: 24, size: 16)]
            case 1: [.transport(at: 9), .source(at: 12, size: 4), .destination(at: 16, size: 4)]
            case 2: [.sourcePort, .port]
            default: []
            }
        }

        var offset: Int {
            switch self {
            case .transport(let offset), .source(let offset, _), .destination(let offset, _): offset
            case .sourcePort: 0
            case .port: 2
            }
        }

        var size: Int {
            switch self {
            case .transport: 1
            case .source(_, let size), .destination(_, let size): size
            case .sourcePort, .port: 2
            }
        }
    }

    private func condition(
        _ known: Known, _ bytes: ArraySlice<UInt8>, _ mask: ArraySlice<UInt8>?, _ isNegated: Bool
    ) -> NATCondition {
        let isIPv6 = way.isIPv6 == true
        switch known {
        case .transport: return .transport(bytes.first ?? 0, isNegated: isNegated)
        case .sourcePort: return isNegated ? .comment("") : .unreadable("a source port")
        case .port:
            guard mask == nil, let port = bytes.bigHalf(0) else { return .unreadable("a port") }
            return .ports(isNegated ? PortSet.complement([port...port]) : [port...port])
        case .source:
            return .source(
                AddressBlock(bytes, mask: mask, isIPv6: isIPv6), isNegated: isNegated)
        case .destination:
            guard let block = AddressBlock(bytes, mask: mask, isIPv6: isIPv6) else {
                return .unreadable("an address")
            }
            return .destination(block, isNegated: isNegated)
        }
    }
}
