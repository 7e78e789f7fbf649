/// As whom a guest's servers see clients on other machines, as far as the program that reports knows. In words it is `real`,
/// or `guest, not real: ` and why not; an agent says so in its HELLO of the best that it can do.
public struct ClientView: Equatable, Sendable {
    /// What they see; nil: the guest does not say.
    public var seen: ClientAddress?
    /// What they should see.
    public var wanted: ClientAddress
    /// Why they do not; empty where they do.
    public var why: String

    /// Describes what servers see.
    public init(seen: ClientAddress?, wanted: ClientAddress, why: String = "") {
        self.seen = seen
        self.wanted = wanted
        self.why = why
    }

    /// A host's view.
    ///
    /// - Parameters:
    ///   - wanted: What its settings say.
    ///   - best: The guest's words of the best that it can do; empty: it does not say.
    package init(wanted: ClientAddress, best: String) {
        let seen = ClientAddress(rawValue: String(best.prefix { $0 != "," }))
        switch (wanted, seen) {
        case (.loopback, _): self.init(seen: .loopback, wanted: wanted)
        case (_, nil): self.init(seen: nil, wanted: wanted)
        // Its own address takes nothing but an address.
        case (.guest, .loopback?):
            self.init(seen: .loopback, wanted: wanted, why: Self.noAddress)
        case (.guest, _): self.init(seen: .guest, wanted: wanted)
        case (.real, let seen?):
            let why = best.split(separator: ": ", maxSplits: 1).dropFirst().first ?? ""
            self.init(seen: seen, wanted: wanted, why: seen == .real ? "" : String(why))
        }
    }

    /// Why a guest cannot stand in for its clients itself.
    package static let noAddress = "no address of an interface"

    /// In words.
    public var text: String {
        guard let seen else { return "\(wanted.rawValue), if the guest can: twinport-agent status" }
        return seen.rawValue + (seen == wanted ? "" : ", not \(wanted.rawValue): \(why)")
    }
}
