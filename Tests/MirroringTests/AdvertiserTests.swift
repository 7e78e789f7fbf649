import Listeners
import Testing
import TwinportModel

@testable import Mirroring

@Suite struct AdvertiserTests {
    @Test func `a change of settings tells of the listeners that it concerns, and of no others`() {
        let advertiser = Advertiser(policy: .host)
        var told: [Port] = []
        advertiser.changed = { offer, _ in told.append(offer.listener.key.endpoint.port) }
        for port in [80, 81] as [Port] {
            let key = ListenerKey(
                kind: .tcp, endpoint: Endpoint(.loopbackV4, port), isV6Only: false)
            advertiser.apply(.appeared(Listener(key: key, uid: 0, inode: UInt64(port))))
        }
        #expect(told == [80, 81])
        var policy = MirrorPolicy.host
        policy.offerIgnore = [PortRule("tcp/81")!]
        advertiser.setPolicy(policy)
        #expect(told == [80, 81, 81])
        policy.offerIgnore.append(PortRule("tcp/82")!)
        advertiser.setPolicy(policy)
        #expect(told == [80, 81, 81])
        advertiser.setPolicy(.host)
        #expect(told == [80, 81, 81, 81])
    }
}
