internal import TwinportModel

// What the peer is told of its own listeners. Pure.
//
// Why a mirror has no port is a word about the ports of this machine. A peer that may not know this machine's listeners on
// a port could ask for them with listeners of its own, one port after the other. So there it is told that it is not
// mirrored, and no more: in the same words whether a setting keeps it out or another program has the port.

extension MirrorPolicy {
    /// An outcome in the words that the peer may hear.
    ///
    /// - Parameters:
    ///   - kind: The listener's.
    ///   - port: Where its mirror is, or would be.
    func told(_ outcome: MirrorEntry.Outcome, _ kind: SocketKind, at port: Port)
        -> MirrorEntry.Outcome
    {
        if tellsOwners { return outcome }
        let told = MirrorEntry.Outcome(
            state: outcome.state, reason: outcome.reason.withoutOwner)
        guard hides(kind, port) else { return told }
        switch (outcome.state, outcome.reason) {
        // Its own doing.
        case (_, .loop), (_, .mirrorHolds): return told
        // A program in the way is met before a privilege or an address that is missing.
        case (.conflict, _), (.denied, _), (.unavailable, _), (.ignored, _):
            return .init(state: .ignored, reason: .untold)
        case (.active, _): return .init(state: .active)
        default: return told
        }
    }

    /// Whether the settings keep this machine's listeners on a port from the peer. What is never offered, by anybody's
    /// settings, is no secret.
    private func hides(_ kind: SocketKind, _ port: Port) -> Bool {
        guard let transport = kind.transport else { return false }
        if offersDisabled != nil { return true }
        if let isIgnored = offerRules.isIgnored(transport, port) { return isIgnored }
        if [PortRule].linkLocal.first(matching: transport, port) != nil { return false }
        if offerIgnore.first(matching: transport, port) != nil { return true }
        return offerOnly.map { $0.first(matching: transport, port) == nil } ?? false
    }

    /// Whether the peer is told the same of everything.
    func tellsTheSame(as other: MirrorPolicy) -> Bool {
        tellsOwners == other.tellsOwners && offersDisabled == other.offersDisabled
            && offerIgnore == other.offerIgnore && offerOnly == other.offerOnly
            && offerRules == other.offerRules
    }
}

extension MirrorEntry.Outcome {
    /// Where the peer hears that the mirrors are, if it hears `told` of this. Those around an address that is left out look
    /// like one at all addresses.
    func told(as told: MirrorEntry.Outcome, _ mirrors: [Endpoint]) -> [Endpoint] {
        guard told.state == state else { return [] }
        guard reason != .none, told.reason == .none, let first = mirrors.first else {
            return mirrors
        }
        let isIPv6 = mirrors.contains { $0.address.isIPv6 }
        return [Endpoint(isIPv6 ? .anyV6 : .anyV4, first.port)]
    }
}
