internal import Listeners
internal import TwinportModel

/// The mirrors of other guests that are offered to this one, as listeners of the desktop. Loop thread only.
final class NeighbourOffers {
    private let advertiser: Advertiser
    private var known: [ListenerKey: Listener] = [:]

    init(_ advertiser: Advertiser) {
        self.advertiser = advertiser
    }

    func apply(_ changes: [ListenerChange]) {
        for change in changes {
            switch change {
            case .appeared(let listener), .updated(let listener): known[change.key] = listener
            case .vanished(let key): known[key] = nil
            }
            advertiser.apply(change)
        }
    }

    /// A program of the desktop left a place, which may have been seen after a mirror took it.
    func localVanished(_ key: ListenerKey) {
        if let listener = known[key] { advertiser.apply(.appeared(listener)) }
    }
}
