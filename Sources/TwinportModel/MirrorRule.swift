// Rules of the settings: which listeners they are about, and what becomes of the mirrors of those. Pure.

/// Where a rule stands in the settings.
public struct RulePlace: Hashable, Sendable, Codable {
    /// Its number in its list, from 1.
    public var number: Int
    /// Its line in the settings file, from 1; 0 when it comes from no file.
    public var line: Int
    /// Whether it makes a mirror take the next free port where its own is taken, as far as that is told.
    public var takesNextPort = false

    /// Names a rule.
    public init(number: Int, line: Int = 0) {
        self.number = number
        self.line = line
    }

    /// Reads JSON, also that of versions that do not tell of the next port.
    public init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: CodingKeys.self)
        number = try json.decode(Int.self, forKey: .number)
        line = try json.decode(Int.self, forKey: .line)
        takesNextPort = try json.decodeIfPresent(Bool.self, forKey: .takesNextPort) ?? false
    }

    /// For people: `rule 2 (line 14)`.
    public var text: String { line > 0 ? "rule \(number) (line \(line))" : "rule \(number)" }
}

/// Which listeners a rule is about: all conditions that it has must hold.
public struct RuleMatch: Hashable, Sendable {
    /// Protocol and ports; nil: all.
    public var ports: PortRule?
    /// The address that the listener is bound to.
    public var address: IPAddress?
    /// A pattern for the name, or the id, of its container.
    public var container: String?
    /// A pattern for the name of its process.
    public var process: String?
    /// The user that made the socket.
    public var uid: UInt32?

    /// Describes listeners.
    public init(
        ports: PortRule? = nil, address: IPAddress? = nil, container: String? = nil,
        process: String? = nil, uid: UInt32? = nil
    ) {
        self.ports = ports
        self.address = address
        self.container = container
        self.process = process
        self.uid = uid
    }

    /// Whether another process behind the listener may make another answer.
    package var isAboutOwner: Bool { container != nil || process != nil || uid != nil }

    /// Whether it names ports, and not all of them.
    package var namesPorts: Bool { ports.map { $0.ports != 1...65_535 } ?? false }

    /// Whether every listener that `other` is about is one of this.
    package func covers(_ other: RuleMatch) -> Bool {
        func isNamed(_ mine: String?, _ theirs: String?) -> Bool {
            guard let mine else { return true }
            guard let theirs else { return false }
            let isOneName = !theirs.contains { $0 == "*" || $0 == "?" }
            return mine == theirs || mine.allSatisfy { $0 == "*" }
                || (isOneName && Glob(mine).matches(theirs))
        }
        let all = PortRule(transport: nil, ports: 1...65_535)
        let (mine, theirs) = (ports ?? all, other.ports ?? all)
        return (mine.transport == nil || mine.transport == theirs.transport)
            && mine.ports.lowerBound <= theirs.ports.lowerBound
            && mine.ports.upperBound >= theirs.ports.upperBound
            && (address == nil || address?.unmapped == other.address?.unmapped)
            && (uid == nil || uid == other.uid) && isNamed(container, other.container)
            && isNamed(process, other.process)
    }

    /// What is known of whether a listener is meant.
    package enum Answer: Sendable {
        case yes
        case no
        /// Its process, or the name of its container, decides, and is not known.
        case unknown
    }

    /// Whether a listener is meant.
    package func answer(for listener: ListenerFacts) -> Answer {
        if let ports, !ports.matches(listener.transport, listener.endpoint.port) { return .no }
        if let address, address.unmapped != listener.endpoint.address.unmapped { return .no }
        if let uid, uid != listener.uid { return .no }
        guard container != nil || process != nil else { return .yes }
        guard let command = listener.process else { return .unknown }
        if let process, !Glob(process).matches(command) { return .no }
        guard let container else { return .yes }
        guard let found = listener.container else { return .no }
        // Each has some name.
        if container.allSatisfy({ $0 == "*" }) { return .yes }
        let pattern = Glob(container)
        let isMeant = [found.name, found.id].contains {
            !$0.isEmpty && $0 != "?" && pattern.matches($0)
        }
        if isMeant { return .yes }
        return ["", "?"].contains(found.name) ? .unknown : .no
    }
}

/// What rules can ask of a listener.
package struct ListenerFacts: Sendable {
    /// Its protocol.
    package var transport: TransportProtocol
    /// Where it is bound.
    package var endpoint: Endpoint
    /// The user that made the socket.
    package var uid: UInt32
    /// The name of its process; nil when that is not known.
    package var process: String?
    /// The container of its process; nil outside of containers.
    package var container: Container?

    /// Collects the facts.
    ///
    /// - Parameter owner: Its process as `PID/COMMAND`; empty when it is not known.
    package init(
        _ transport: TransportProtocol, _ endpoint: Endpoint, uid: UInt32, owner: String,
        container: Container?
    ) {
        self.transport = transport
        self.endpoint = endpoint
        self.uid = uid
        self.container = container
        process = owner.split(
            separator: "/", maxSplits: 1, omittingEmptySubsequences: false
        ).dropFirst().first.map(String.init)
    }
}

/// Where the mirrors of a rule's listeners are bound, if these are wildcards.
public enum RuleBind: Hashable, Sendable {
    /// As the setting of the same word says.
    case word(WildcardBind)
    /// At this address of the mirrors' machine.
    case address(IPAddress)

    /// As the settings have it.
    public var text: String {
        switch self {
        case .word(let bind): bind.rawValue
        case .address(let address): address.description
        }
    }
}

/// Where a rule puts the mirrors of its listeners.
public struct RuleTarget: Hashable, Sendable {
    /// The address; nil: the one that the mirror would have anyway.
    public var address: IPAddress?
    /// The port; as many as the rule matches, if they are several.
    public var ports: ClosedRange<Port>

    /// Names a place.
    public init(_ address: IPAddress?, _ ports: ClosedRange<Port>) {
        self.address = address
        self.ports = ports
    }

    /// Reads `8080`, `:8080`, `127.0.0.1:8080`, `[::1]:8080` or, for several, `6000-6010`; nil for anything else.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else {
            guard let ports = PortRule.ports(text[...]), text != "*" else { return nil }
            self.init(nil, ports)
            return
        }
        let words = text[text.index(after: colon)...]
        guard words != "*", let ports = PortRule.ports(words) else { return nil }
        if colon == text.startIndex {
            self.init(nil, ports)
        } else if let place = Endpoint("\(text[..<colon]):\(ports.lowerBound)") {
            self.init(place.address.unmapped, ports)
        } else {
            return nil
        }
    }

    /// As the settings have it.
    public var text: String {
        let last = ports.count > 1 ? "-\(ports.upperBound)" : ""
        guard let address else { return "\(ports.lowerBound)\(last)" }
        return "\(Endpoint(address, ports.lowerBound))\(last)"
    }

    /// The port for one of the ports that are matched.
    package func port(for port: Port, of matched: PortRule?) -> Port {
        guard ports.count > 1, let first = matched?.ports.lowerBound, port >= first,
            port - first < ports.count
        else { return ports.lowerBound }
        return ports.lowerBound + (port - first)
    }
}

/// One rule: what it is about, and what it says.
public struct MirrorRule: Hashable, Sendable {
    /// Where it stands.
    public var place: RulePlace
    /// Which listeners it is about.
    public var match: RuleMatch
    /// Whether these are left out; nil: other settings decide.
    public var isIgnored: Bool?
    /// Where mirrors of wildcards are bound; nil: other settings decide.
    public var bind: RuleBind?
    /// Where mirrors stand; nil: at the listener's own port.
    public var target: RuleTarget?
    /// Whether a mirror takes the next free port where its own is taken.
    public var takesNextPort = false
    /// Whether TCP connections begin with a header that names the client (PROXY protocol, version 2).
    public var sendsProxyHeader = false

    /// A rule that says nothing yet.
    public init(place: RulePlace, match: RuleMatch) {
        self.place = place
        self.match = match
    }

    /// Whether its listeners are mirrored whatever the settings beside the rules say.
    package var admits: Bool { isIgnored == false || (isIgnored == nil && target != nil) }
}

/// Where a host wants a listener of its own to be mirrored in its guest.
public struct ListenerPlacement: Hashable, Sendable {
    /// The rule's number in the host's settings, for reports.
    public var rule: Int
    /// An address of loopback; nil: the one that the mirror would have anyway.
    public var address: IPAddress?
    /// The port.
    public var port: Port
    /// Whether the mirror takes the next free port where this one is taken.
    public var takesNextPort: Bool

    /// Describes a place.
    public init(rule: Int, address: IPAddress?, port: Port, takesNextPort: Bool) {
        self.rule = rule
        self.address = address
        self.port = port
        self.takesNextPort = takesNextPort
    }
}

extension MirrorRule {
    /// What it asks of the guest for one of this machine's listeners; nil: nothing.
    package func placement(of listener: Endpoint) -> ListenerPlacement? {
        guard target != nil || takesNextPort, isIgnored != true else { return nil }
        return ListenerPlacement(
            rule: place.number, address: target?.address,
            port: target?.port(for: listener.port, of: match.ports) ?? listener.port,
            takesNextPort: takesNextPort)
    }

    /// The rule that a guest follows for a listener of its host's. A mirror in a guest is on loopback, whatever the host
    /// says.
    package init(_ placement: ListenerPlacement, at port: Port) {
        let address = placement.address.flatMap { $0.isLoopback ? $0 : nil }
        self.init(place: RulePlace(number: placement.rule), match: RuleMatch())
        takesNextPort = placement.takesNextPort
        if address != nil || placement.port != port {
            target = RuleTarget(address, placement.port...placement.port)
        }
    }
}

/// The rule of a list that decides about a listener. Of one word: thousands of listeners keep theirs.
package enum RuleFinding: Equatable, Sendable {
    /// There is none.
    case none
    /// It decides.
    indirect case rule(MirrorRule)
    /// It decides if the listener's process is the one that it asks for, and that is not known.
    indirect case needsOwner(MirrorRule)
}

extension [MirrorRule] {
    /// The first rule that matches. The list ends at a rule of which that cannot be told: what comes after it could say
    /// more than it would.
    package func finding(for listener: @autoclosure () -> ListenerFacts) -> RuleFinding {
        if isEmpty { return .none }
        let listener = listener()
        for rule in self {
            switch rule.match.answer(for: listener) {
            case .yes: return .rule(rule)
            case .unknown: return .needsOwner(rule)
            case .no: break
            }
        }
        return .none
    }

    /// Whether another process behind a listener may make another decision.
    package var areAboutOwners: Bool { contains { $0.match.isAboutOwner } }

    /// What the first rule says of which it is certain, from the port alone, that it matches; nil: no word.
    package func isIgnored(_ transport: TransportProtocol, _ port: Port) -> Bool? {
        first {
            !$0.match.isAboutOwner && $0.match.address == nil
                && ($0.match.ports?.matches(transport, port) ?? true)
        }?.isIgnored
    }
}
