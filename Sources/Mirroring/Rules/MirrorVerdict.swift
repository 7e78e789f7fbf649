internal import TwinportModel

// What the policy says of one listener of the peer's. Pure: docs/behaviour.md, "States".

/// Whether a listener is mirrored, and if not, why.
enum MirrorVerdict: Equatable {
    /// It is left out.
    case out(MirrorState, Reason)
    /// It is mirrored with these sockets.
    case bind([PlannedSocket])

    /// Decides about a listener, from everything but what is bound already.
    ///
    /// - Parameters:
    ///   - isNew: Whether its owner may be looked for still.
    ///   - rule: The one that is about it.
    init(
        on key: ListenerKey, container: Container?, ownerIsKnown: Bool, isNew: Bool = false,
        policy: MirrorPolicy, hasIPv6: Bool, rule: MirrorRule? = nil
    ) {
        let isInContainer = container != nil
        let bind = (rule?.bindWord ?? policy.bind).resolved(inContainer: isInContainer)
        switch AddressRules.plan(for: key, bind: bind, hasIPv6: hasIPv6) {
        case .unsupported(let why): self = .out(.unsupported, why)
        case .sockets(let sockets):
            if let why = policy.mirrorsDisabled {
                self = .out(.disabled, .switchedOff(why))
            } else if let why = policy.leavesOut(key, isInContainer: isInContainer, rule) {
                self = .out(.ignored, why)
            } else if policy.scope == .containers, !isInContainer, rule?.admits != true {
                if !ownerIsKnown, isNew {
                    self = .out(.pending, .ownerNotKnownYet)
                } else {
                    self = .out(.ignored, ownerIsKnown ? .notInContainer : .unknownOwner)
                }
            } else {
                let sockets = policy.atOwnAddress(sockets, rule)
                self = .bind(rule?.moved(sockets, of: key, hasIPv6: hasIPv6) ?? sockets)
            }
        }
    }

    /// Why a listener of this machine is not offered to the peer; nil: it is.
    ///
    /// - Parameter finding: What the policy's rules say of it.
    static func objection(
        toOffering listener: Listener, policy: MirrorPolicy, _ finding: RuleFinding
    ) -> (state: MirrorState, reason: Reason)? {
        let key = listener.key
        if listener.isMirror {
            return (.ignored, listener.traits.isPage ? .ownPage : .foreignMirror)
        }
        if !policy.offersUnsupported {
            if let why = listener.traits.obstacle { return (.unsupported, why) }
            let plan = AddressRules.plan(for: key, bind: .loopback, hasIPv6: true)
            if case .unsupported(let why) = plan { return (.unsupported, why) }
        }
        if let why = policy.offersDisabled { return (.disabled, .switchedOff(why)) }
        if case .needsOwner(let rule) = finding {
            return (.pending, .needsOwner(rule.place.number, .hostToGuest))
        }
        guard let why = policy.withholds(key, finding.rule) else { return nil }
        return (.ignored, why)
    }
}

extension ListenerFacts {
    /// A listener of this machine. Its kind is one that is carried, or no rule is about it.
    init(_ listener: Listener) {
        self.init(
            listener.key.kind.transport ?? .tcp, listener.key.endpoint, uid: listener.uid,
            owner: listener.owner?.text ?? "", container: listener.owner?.container)
    }
}

extension RuleFinding {
    /// The rule that decides.
    var rule: MirrorRule? {
        if case .rule(let rule) = self { rule } else { nil }
    }
}

extension MirrorPolicy {
    /// Why a listener of this machine is kept back; nil: it is not.
    fileprivate func withholds(_ key: ListenerKey, _ decided: MirrorRule?) -> Reason? {
        if let decided, decided.isIgnored == true {
            return .ruleNumber(decided.place.number, .hostToGuest)
        }
        let ignore = decided?.admits == true ? .linkLocal : offerIgnore
        if let transport = key.kind.transport,
            let rule = ignore.first(matching: transport, key.endpoint.port)
        {
            return .rule(rule)
        }
        if decided?.admits == true || offerOnly.admits(key) != false { return nil }
        return .notNamed(.hostToGuest)
    }

    /// Why a listener of the peer's is left out; nil: it is not.
    ///
    /// - Parameter decided: The rule that is about it.
    fileprivate func leavesOut(
        _ key: ListenerKey, isInContainer: Bool, _ decided: MirrorRule?
    ) -> Reason? {
        if let decided, decided.isIgnored == true {
            return .ruleNumber(decided.place.number, .guestToHost)
        }
        if let decided, decided.admits {
            // What is about the link, and not about the machine, is never mirrored.
            let transport = key.kind.transport ?? .tcp
            return [PortRule].linkLocal.first(matching: transport, key.endpoint.port)
                .map { .rule($0) }
        }
        if let transport = key.kind.transport,
            let rule = mirrorIgnore.first(matching: transport, key.endpoint.port)
        {
            return .rule(rule)
        }
        if mirrorOnly.admits(key) == false { return .notNamed(.guestToHost) }
        let isOwn = !isInContainer && Self.ownServicePorts.contains(key.endpoint.port)
        return leavesOutOwnServices && isOwn && !mirrorOnly.names(key) ? .ownService : nil
    }

    /// The sockets of a mirror at the peer's own address here, where it has one and no rule says how to bind.
    fileprivate func atOwnAddress(
        _ sockets: [PlannedSocket], _ rule: MirrorRule?
    ) -> [PlannedSocket] {
        guard let mirrorAddress, rule?.bindWord == nil, let first = sockets.first else {
            return sockets
        }
        let endpoint = Endpoint(mirrorAddress, first.endpoint.port)
        return [PlannedSocket(endpoint: endpoint, isV6Only: mirrorAddress.isIPv6)]
    }

    /// Whether a listener's mirror may stand beside a local program that has the port in the other family only: somebody
    /// named the port, and knows.
    func permitsOtherFamily(_ key: ListenerKey) -> Bool {
        mirrorOnly.names(key)
    }

    /// Whether answers of a UDP listener may come from this port: whether a mirror there could be.
    func mayAnswer(from port: Port) -> Bool {
        guard mirrorsDisabled == nil else { return false }
        switch mirrorRules.isIgnored(.udp, port) {
        case true?: return false
        case false?: return [PortRule].linkLocal.first(matching: .udp, port) == nil
        case nil: return mirrorIgnore.first(matching: .udp, port) == nil
        }
    }
}

extension [PortRule]? {
    /// Whether these rules let a listener through; nil where there are none.
    fileprivate func admits(_ key: ListenerKey) -> Bool? {
        guard let rules = self, let transport = key.kind.transport else { return nil }
        return rules.first(matching: transport, key.endpoint.port) != nil
    }

    /// Whether they do by its port, and not by all ports: who writes `tcp/*` did not think of this one.
    fileprivate func names(_ key: ListenerKey) -> Bool {
        guard let rules = self else { return false }
        return Optional(rules.filter { $0.ports != 1...65_535 }).admits(key) == true
    }
}
