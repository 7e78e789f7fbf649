import Listeners
import Testing
import TwinportModel

@testable import Mirroring

@Suite struct NeighbourOffersTests {
    private func listener(_ port: Port) -> Listener {
        Listener(
            key: ListenerKey(
                kind: .tcp, endpoint: Endpoint(.loopbackV4, port), isV6Only: false),
            uid: 0, inode: 0)
    }

    @Test func `other guests' mirrors leave room for the desktop's own`() {
        let advertiser = Advertiser(policy: .host)
        let offers = NeighbourOffers(advertiser)
        let all = (1...8_192).map { listener(Port($0)) }
        offers.apply(all.map { .appeared($0) })
        #expect(advertiser.all.count == NeighbourOffers.most)
        // News of one that has no place gives it none.
        offers.apply([.updated(all[8_000])])
        #expect(advertiser.all.count == NeighbourOffers.most)
        // Each that goes makes room for one.
        offers.apply(all.prefix(4_096).map { .vanished($0.key) })
        #expect(advertiser.all.count == NeighbourOffers.most)
        #expect(advertiser.all.allSatisfy { $0.listener.key.endpoint.port > 4_096 })
        offers.apply(all.dropFirst(4_096).map { .vanished($0.key) })
        #expect(advertiser.all.isEmpty)
    }
}
