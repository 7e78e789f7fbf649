extension Reason {
    /// A forward's word for it in JSON: ``ForwardTrouble/code``, or that of a reason which mirrors have, too; nil for none.
    package var forwardCode: String? {
        switch self {
        case .none: nil
        case .forward(let trouble): trouble.code
        case .inUse, .heldBy, .twinportHolds, .guestHolds, .mirrorHolds, .allBut: "in-use"
        case .needsPrivilege: "needs-privilege"
        case .noSuchAddress: "no-such-address"
        case .tunnelDown, .tunnelDownKept: "not-connected"
        case .switchedOff: "switched-off"
        case .targetFails: "no-answer"
        case .untold: "not-told"
        default: "other"
        }
    }
}
