import Settings
import Testing
import TwinportKit
import TwinportModel

@testable import HostHelper

@Suite struct HostedGuestsTests {
    private func plan(_ address: IPAddress, _ port: Port, key: String? = nil) -> Settings.Guest {
        var plan = Settings.Guest(name: "web", tunnel: .listen(.tcp(Endpoint(address, port))))
        plan.tunnelKey = key
        return plan
    }

    @Test func `a tunnel in use is not closed to try one again that would take its place`() {
        var guest = HostedGuest(
            settings: plan(.loopbackV4, 7_070), node: Node(NodeConfiguration(role: .host)))
        guest.isRunning = true
        #expect(!guest.mayRetry(plan(.anyV4, 7_070)))
        // Both can be open at once, so that the old one lasts until there is the new one.
        #expect(guest.mayRetry(plan(.loopbackV4, 7_071)))
        // A key is read before anything is closed, and the place is free then.
        #expect(guest.mayRetry(plan(.loopbackV4, 7_070, key: "/none")))
        guest.isRunning = false
        #expect(guest.mayRetry(plan(.anyV4, 7_070)))
    }
}
