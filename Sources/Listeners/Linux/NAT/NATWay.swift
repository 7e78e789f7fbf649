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
    /// Interfaces that it does not come from.
    var notInterfaces: [String] = []
    /// Whether only some clients, by their address, come here; and which.
    var source: AddressBlock?
    /// Clients that do not come here.
    var notSources: [AddressBlock] = []
    /// Whether only some clients come here, and it is not known which.
    var isForSome = false
    /// Interfaces whose clients an earlier rule lets past.
    var pastInterfaces: [String] = []
    /// Whether an earlier rule lets some clients past, so that not all come here.
    var isPassed = false
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
        /// As its author wrote it, up to 256 bytes.
        var comment: String

        /// As `ip nat DOCKER handle 7 "web"`.
        var text: String {
            let family = [NATRuleset.inet: "inet", NATRuleset.ipv6: "ip6"][family] ?? "ip"
            let comment = comment.isEmpty ? "" : " \"\(printable(comment))\""
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
        case .sourceIsOwn(let isOwn): return isOwn == (hook == .output) ? way : nil
        case .source(let block, let isNegated): return from(block, isNegated)
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

    private func from(_ block: AddressBlock?, _ isNegated: Bool) -> NATWay? {
        var way = self
        guard let block, notSources.count < Self.mostExceptions else {
            way.isForSome = true
            return way
        }
        if block.isAll { return isNegated ? nil : way }
        if isNegated { way.notSources.append(block) } else { way.source = block }
        return way
    }

    private func arriving(_ name: String, _ isNegated: Bool, _ hook: NATHook) -> NATWay? {
        var way = self
        if isNegated {
            // What a program of this machine sends has not arrived anywhere, and what arrives from others not at `lo`.
            guard hook == .prerouting, name != "lo", !notInterfaces.contains(name) else {
                return way
            }
            guard interface != name else { return nil }
            way.isForSome = isForSome || notInterfaces.count >= Self.mostExceptions
            if !way.isForSome { way.notInterfaces.append(name) }
            return way
        }
        guard hook == .prerouting, name != "lo", interface.map({ $0 == name }) ?? true,
            !notInterfaces.contains(name)
        else { return nil }
        way.interface = name
        return way
    }

    /// So many interfaces, and blocks of clients, are told apart.
    private static let mostExceptions = 64

    /// Whether everything that comes here asks nothing but a family, a protocol, ports and addresses.
    var isPlain: Bool { !isForSomeClients && notInterfaces.isEmpty && unreadable == nil }

    /// Whether it asks who the client is, beside what ``notInterfaces`` says.
    var isForSomeClients: Bool {
        interface != nil || source != nil || !notSources.isEmpty || isForSome
    }

    /// The way without what an earlier rule lets past.
    func lacking(_ exception: NATWay) -> NATWay {
        var way = self
        way.unreadable = unreadable ?? exception.unreadable
        let (interface, source) = (exception.interface, exception.source)
        let isOne = exception.notInterfaces.isEmpty && exception.notSources.isEmpty
        guard isOne, !exception.isForSome, interface == nil || source == nil,
            pastInterfaces.count < Self.mostExceptions, notSources.count < Self.mostExceptions
        else {
            (way.isForSome, way.isPassed) = (true, true)
            return way
        }
        // Of another interface, or client, nothing comes here anyway.
        if let interface, self.interface.map({ $0 == interface }) ?? true,
            !notInterfaces.contains(interface), !pastInterfaces.contains(interface)
        {
            way.pastInterfaces.append(interface)
        }
        if let source, !notSources.contains(source) {
            way.notSources.append(source)
            way.isPassed = true
        }
        return way
    }

    /// Whether a client at an address of this machine comes here.
    func takes(_ client: IPAddress) -> Bool {
        !isForSome && source?.contains(client) ?? true
            && !notSources.contains { $0.contains(client) }
    }

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
