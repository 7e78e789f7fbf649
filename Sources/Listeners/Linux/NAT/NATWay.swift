internal import TwinportModel

/// What a connection must be like to come to some place in the rules. Pure.
struct NATWay: Equatable {
    /// Nil: either family.
    var isIPv6: Bool?
    /// Nil: any protocol.
    var transport: UInt8?
    /// The ports that are dialled, in order; nil: the rules did not ask.
    var ports: [ClosedRange<Port>]?
    /// The address that is dialled.
    var destination: AddressBlock?
    /// Addresses that are not.
    var notDestinations: [AddressBlock] = []
    /// The only interface that it comes from.
    var interface: String?
    /// Whether only some clients, by their address, come here; and which.
    var source: AddressBlock?
    /// What else is asked, that is not understood.
    var unreadable: String?
    /// The rule that asks for the port.
    var rule: RuleName?

    /// A rule, as reports name it.
    struct RuleName: Equatable {
        var family: UInt8
        var table: String
        var chain: String
        var number: String
        var comment: String

        /// As `ip nat DOCKER handle 7 "web"`.
        var text: String {
            let family = [NATRuleset.inet: "inet", NATRuleset.ipv6: "ip6"][family] ?? "ip"
            let comment = comment.isEmpty ? "" : " \"\(comment)\""
            return "\(family) \(printable(table)) \(printable(chain)) \(number)\(comment)"
        }
    }

    init(family: UInt8) {
        isIPv6 = family == NATRuleset.inet ? nil : family == NATRuleset.ipv6
    }

    /// The way of those connections that meet one condition more; nil: of none.
    func meeting(_ condition: NATCondition, at hook: NATHook) -> NATWay? {
        var way = self
        switch condition {
        case .never: return nil
        case .comment: break
        case .unreadable(let what): way.unreadable = unreadable ?? what
        case .family(let asksIPv6):
            if isIPv6 == !asksIPv6 { return nil }
            way.isIPv6 = asksIPv6
        case .transport(let number, let isNegated): return limited(to: number, isNegated)
        case .ports(let ranges):
            let asked = PortSet.sorted(ranges)
            let left = ports.map { PortSet.common($0, asked) } ?? asked
            if left.isEmpty { return nil }
            way.ports = left
        case .destination(let block, let isNegated): return toBlock(block, isNegated)
        // Connections to this machine are the only ones of interest.
        case .destinationIsOwn(let isOwn): return isOwn ? way : nil
        case .source(let block, let isNegated):
            if !isNegated { way.source = block ?? source }
        case .inInterface(let name, let isNegated): return arriving(name, isNegated, hook)
        case .outInterface(let name, let isNegated):
            // To an address of its own a machine sends through `lo`, and only what it sends itself.
            return hook == .output && (name == "lo") != isNegated ? way : nil
        }
        return way
    }

    private func limited(to number: UInt8, _ isNegated: Bool) -> NATWay? {
        var way = self
        if isNegated {
            if let transport { return transport == number ? nil : way }
            // Of the two that are carried the other one is left.
            if number == 6 || number == 17 { way.transport = number == 6 ? 17 : 6 }
            return way
        }
        if let transport, transport != number { return nil }
        way.transport = number
        return way
    }

    private func toBlock(_ block: AddressBlock, _ isNegated: Bool) -> NATWay? {
        var way = self
        if block.isAll { return isNegated ? nil : way }
        if isNegated {
            guard notDestinations.count < 64 else { return way }
            way.notDestinations.append(block)
        } else if destination == nil || destination == block || !block.isSingle {
            // Of two blocks the narrower one is kept; that they overlap is not looked at.
            if destination?.isSingle != true { way.destination = block }
        } else {
            if destination?.isSingle == true { return nil }
            way.destination = block
        }
        return way
    }

    private func arriving(_ name: String, _ isNegated: Bool, _ hook: NATHook) -> NATWay? {
        if isNegated { return self }
        // What a program of this machine sends has not arrived anywhere.
        guard hook == .prerouting, name != "lo", interface.map({ $0 == name }) ?? true
        else { return nil }
        var way = self
        way.interface = name
        return way
    }

    /// Whether everything that comes here asks nothing but a family, a protocol, ports and addresses.
    var isPlain: Bool { interface == nil && source == nil && unreadable == nil }

    /// Whether a connection to an address comes here.
    func admits(_ address: IPAddress) -> Bool {
        guard isIPv6.map({ $0 == address.isIPv6 }) ?? true else { return false }
        return (destination?.contains(address) ?? true)
            && !notDestinations.contains { $0.contains(address) }
    }
}

/// A rule that sends connections on.
struct NATHit: Equatable {
    var hook: NATHook
    var way: NATWay
    var target: NATTarget
}
