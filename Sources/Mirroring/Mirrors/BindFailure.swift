internal import Posix
internal import TwinportModel

extension MirrorEntry.Outcome {
    /// Explains why a mirror's socket could not be bound. Pure.
    ///
    /// - Parameter holder: The listener of this machine that is in the way, where one is known.
    init(bindFailure error: SystemError, _ planned: PlannedSocket, holder: Listener?) {
        let endpoint = planned.endpoint
        if error.isAddressInUse {
            self.init(state: .conflict, reason: Self.conflict(at: endpoint, holder))
        } else if error.isPermissionDenied {
            self.init(state: .denied, reason: .needsPrivilege(endpoint.port))
        } else if error.isAddressUnavailable {
            self.init(state: .unavailable, reason: .noSuchAddress(endpoint.address))
        } else {
            self.init(state: .limit, reason: .other(error.description))
        }
    }

    /// A known local listener is in the way.
    init(conflictAt planned: PlannedSocket, _ holder: Listener) {
        self.init(state: .conflict, reason: Self.conflict(at: planned.endpoint, holder))
    }

    /// A local listener has the port in the other family.
    init(otherFamily holder: Listener) {
        self.init(
            state: .conflict,
            reason: .otherFamily(owner: holder.owner?.text ?? "", holder.key.endpoint))
    }

    private static func conflict(at endpoint: Endpoint, _ holder: Listener?) -> Reason {
        guard let holder else { return .inUse(endpoint) }
        if holder.isMirror, !holder.traits.isPage {
            return .twinportHolds(holder.owner?.twinport ?? "", holder.key.endpoint)
        }
        guard let owner = holder.owner else { return .inUse(holder.key.endpoint) }
        return .heldBy(
            owner: holder.traits.isPage ? holder.holder : owner.text, holder.key.endpoint)
    }
}
