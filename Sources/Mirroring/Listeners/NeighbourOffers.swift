internal import Listeners
internal import TwinportModel

/// The mirrors of other guests that are offered to this one, as listeners of the desktop. At most ``most``, so that the
/// desktop's own have room beside them; another one comes in when one goes. Loop thread only.
final class NeighbourOffers {
    /// Half of what a guest takes.
    static let most = 4_096

    private let advertiser: Advertiser
    private var offered: [ListenerKey: Listener] = [:]
    /// Those for which there is no room.
    private var waiting: [ListenerKey: Listener] = [:]

    init(_ advertiser: Advertiser) {
        self.advertiser = advertiser
    }

    func apply(_ changes: [ListenerChange]) {
        for change in changes {
            switch change {
            case .appeared(let listener), .updated(let listener): put(listener, change)
            case .vanished(let key): remove(key, change)
            }
        }
    }

    private func put(_ listener: Listener, _ change: ListenerChange) {
        guard offered[listener.key] != nil || offered.count < Self.most else {
            waiting[listener.key] = listener
            return
        }
        offered[listener.key] = listener
        advertiser.apply(change)
    }

    private func remove(_ key: ListenerKey, _ change: ListenerChange) {
        if waiting.removeValue(forKey: key) != nil { return }
        offered[key] = nil
        advertiser.apply(change)
        if let next = waiting.popFirst()?.value { put(next, .appeared(next)) }
    }

    /// A program of the desktop left a place, which may have been seen after a mirror took it.
    func localVanished(_ key: ListenerKey) {
        if let listener = offered[key] { advertiser.apply(.appeared(listener)) }
    }
}
