package import TwinportModel

// From which address a listener is dialled for a client. Pure: docs/behaviour.md has the table that this file is.

/// The address that a listener sees as its client's.
package enum ClientSource: Hashable, Sendable {
    /// What the kernel chooses, which is loopback.
    case loopback
    /// An address of an interface of this machine.
    case own(IPAddress)
    /// What the kernel chooses, of what is dialled at an address that is not loopback's.
    case chosen
    /// The client's own. Port 0: the kernel chooses the port.
    case real(Endpoint)
}

/// One way to reach a listener.
package struct ClientPath: Hashable, Sendable {
    /// Where the listener is reached.
    package var target: Endpoint
    /// As whom.
    package var source: ClientSource
}

extension Publication {
    /// How a port that rules publish is dialled. Nobody's own address can be taken: the answers pass the machine's NAT, and
    /// would leave for the client itself.
    ///
    /// - Parameter isPlain: Whether the client may look like a program of this machine. Another one is refused where there
    ///   is no way but by loopback.
    func path(isPlain: Bool) -> ClientPath? {
        let inside = near.flatMap { isPlain || !$0.address.isLoopback ? $0 : nil }
        guard let target = isPlain ? inside ?? far : far ?? inside else { return nil }
        return ClientPath(target: target, source: target.address.isLoopback ? .loopback : .chosen)
    }
}

/// The rules of sources.
package enum ClientSources {
    /// A client's port is kept if it is of those that kernels choose. A program of this machine cannot bind a port on
    /// which a client's address is bound, so a client must not be able to name a port that programs want.
    package static let firstKeptPort: Port = 32_768
    /// The kernel takes no rule for the last one.
    private static let lastPort: Port = 65_534
    /// TFTP answers from a port that it opens for the client, which a rule for the listener's port does not cover.
    private static let tftp: Port = 69

    /// What stands in for a client whose address cannot be taken, where this machine has none of the listener's family:
    /// addresses that no machine has (RFC 7600, RFC 6666). They need what ``ClientSource/real(_:)`` needs.
    private static let standIns = (
        IPAddress.v4(IPv4Address(bits: 0xc000_0008)),
        IPAddress.v6(IPv6Address(high: 0x0100_0000_0000_0000, low: 1))
    )

    /// The ways to reach a listener, best first. As a program of this machine only a client that is like one, or where the
    /// policy says so, or where this machine has no address but loopback's.
    ///
    /// - Parameters:
    ///   - targets: Where the listener is reached, best first.
    ///   - listener: The listener's own address.
    ///   - client: Where the client called from, as the peer says.
    ///   - wanted: The policy.
    ///   - own: This machine's addresses.
    package static func paths(
        to targets: [Endpoint], of listener: Endpoint, _ transport: TransportProtocol,
        for client: Endpoint, wanted: ClientAddress, own: [IPAddress]
    ) -> [ClientPath] {
        let address = client.address.unmapped
        guard wanted != .loopback, !address.isLoopback else {
            return targets.map { ClientPath(target: $0, source: .loopback) }
        }
        var paths: [ClientPath] = []
        for target in targets where target.address.isLoopback {
            let isIPv6 = target.address.isIPv6
            let hasRules = target.port <= lastPort && (transport == .tcp || listener.port != tftp)
            if wanted == .real, hasRules, address.isIPv6 == isIPv6, isForeign(address, own: own) {
                let port = (firstKeptPort...lastPort).contains(client.port) ? client.port : 0
                paths.append(
                    ClientPath(target: target, source: .real(Endpoint(address, port))))
            }
            guard let mine = own.first(where: { isReachable($0) && $0.isIPv6 == isIPv6 })
            else {
                guard hasRules else { continue }
                let standIn = isIPv6 ? standIns.1 : standIns.0
                paths.append(
                    ClientPath(target: target, source: .real(Endpoint(standIn, 0))))
                continue
            }
            // Over UDP a wildcard answers from the address to which it answers, if that is this machine's.
            let isAnywhere = transport == .udp && listener.address.isWildcard
            paths.append(
                ClientPath(
                    target: isAnywhere ? Endpoint(mine, target.port) : target, source: .own(mine)))
        }
        guard !own.contains(where: isReachable) else { return paths }
        return paths + targets.map { ClientPath(target: $0, source: .loopback) }
    }

    /// Whether a peer may have this machine use an address as a client's.
    private static func isForeign(_ address: IPAddress, own: [IPAddress]) -> Bool {
        isReachable(address) && !own.contains(address)
    }

    /// Whether an address is one machine's, and means the same on every link.
    static func isReachable(_ address: IPAddress) -> Bool {
        guard !address.isLoopback, !address.isWildcard, !address.isMulticastOrBroadcast else {
            return false
        }
        switch address {
        // 0.0.0.0/8, 240.0.0.0/4 (RFC 6890).
        case .v4(let address): return address.bits >> 24 != 0 && address.bits >> 28 != 0xf
        // fe80::/10 needs its interface; of ::/96 nothing is an address.
        case .v6(let address):
            return address.high >> 54 != 0x3fa && (address.high != 0 || address.low >> 32 != 0)
        }
    }
}

/// Which flows hold which rules, at most ``most`` rules. A rule that no flow holds any more stays for a while: what the
/// listener sends last still needs it.
package struct HeldRules<Rule: Hashable> {
    /// The most rules.
    package static var most: Int { 256 }
    /// How long a rule stays without a flow, in milliseconds.
    package static var patience: UInt64 { 60_000 }

    private struct Use {
        var flows = 1
        var idleSince: UInt64 = 0
    }

    private var uses: [Rule: Use] = [:]
    private var holds: [UInt64: Rule] = [:]

    /// No rules.
    package init() {}

    /// How many rules there are.
    package var count: Int { uses.count }

    /// Whether a rule is there.
    package func contains(_ rule: Rule) -> Bool { uses[rule] != nil }

    /// What is to be done for a flow.
    package enum Outcome: Equatable {
        /// The rule is there.
        case present
        /// It is to be made, after the one that is given was deleted.
        case missing(instead: Rule?)
        /// Flows hold all rules that there may be.
        case full
    }

    /// Lets a flow hold a rule. It holds no other.
    package mutating func hold(_ rule: Rule, by flow: UInt64) -> Outcome {
        if uses[rule] != nil {
            uses[rule]?.flows += 1
            holds[flow] = rule
            return .present
        }
        var victim: Rule?
        if uses.count >= Self.most {
            victim =
                uses.filter { $0.value.flows == 0 }
                .min { $0.value.idleSince < $1.value.idleSince }?.key
            guard let victim else { return .full }
            uses[victim] = nil
        }
        uses[rule] = Use()
        holds[flow] = rule
        return .missing(instead: victim)
    }

    /// The flow needs its rule no more.
    package mutating func release(_ flow: UInt64, now: UInt64) {
        guard !holds.isEmpty, let rule = holds.removeValue(forKey: flow) else { return }
        uses[rule]?.flows -= 1
        uses[rule]?.idleSince = now
    }

    /// The rule that a flow holds could not be made.
    package mutating func forget(_ flow: UInt64) {
        if let rule = holds.removeValue(forKey: flow) { uses[rule] = nil }
    }

    /// Takes out the rules that no flow has held for a while.
    package mutating func takeExpired(now: UInt64) -> [Rule] {
        guard !uses.isEmpty else { return [] }
        let expired = uses.filter {
            $0.value.flows == 0 && now >= $0.value.idleSince + Self.patience
        }
        for rule in expired.keys { uses[rule] = nil }
        return Array(expired.keys)
    }
}
