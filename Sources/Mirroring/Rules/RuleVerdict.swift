internal import TwinportModel

/// What a rule said of an entry when its group was settled last.
struct RuleVerdict: Equatable {
    /// The rule.
    let place: RulePlace
    /// Whether it names a place, and which of two mirrors there gives way: the one with the higher number.
    let rank: Int
    /// Whether a taken port makes the mirror take another one.
    let takesNextPort: Bool
    /// Whether connections begin with a header that names the client.
    let sendsProxyHeader: Bool
    /// Whether whoever wrote it knows of the listener's port.
    let isNaming: Bool

    /// The rank of a mirror that no rule sent to its place, and of one at a port that was the next free one.
    static let ownRank = Int.max - 1
    static let nextRank = Int.max

    init(_ rule: MirrorRule, _ key: ListenerKey) {
        var place = rule.place
        place.takesNextPort = rule.takesNextPort
        self.place = place
        takesNextPort = rule.takesNextPort
        sendsProxyHeader = rule.sendsProxyHeader
        isNaming = rule.isNaming
        rank =
            rule.target == nil
            ? Self.ownRank : rule.place.number << 16 | Int(key.endpoint.port)
    }
}
