internal import TwinportModel

/// What `explain` says of a mirror's clients on other machines.
enum ClientAdvice {
    /// A sentence; nil where other machines are no clients of the mirror.
    static func text(_ row: PortSnapshot, _ view: ClientView) -> String? {
        guard row.isForOthers else { return nil }
        guard row.published.isEmpty || view.wanted == .loopback else {
            return "Its server sees clients on other machines with an address of the guest: "
                + "a published port has no other."
        }
        let why = view.why.isEmpty ? "" : ", and not their own (\(view.why))"
        let start = "Its server sees clients on other machines"
        switch view.seen {
        case .real?: return "\(start) with their own addresses."
        case .guest?: return "\(start) with an address of the guest\(why)."
        case .loopback?:
            return "\(start) as clients of the guest's own loopback, which it may trust"
                + (view.wanted == .loopback
                    ? ": guestToHost.clientAddress is loopback." : " (\(view.why)).")
        case nil:
            return
                "\(start) as guestToHost.clientAddress says (\(view.wanted.rawValue)), if the guest can: "
                + "\"twinport-agent status\" there tells."
        }
    }
}
