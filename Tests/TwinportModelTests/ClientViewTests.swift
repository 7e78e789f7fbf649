import Testing
import TwinportModel

@Suite struct ClientViewTests {
    @Test(arguments: [
        (ClientAddress.real, "real", "real"), (.guest, "real", "guest"),
        (.loopback, "real", "loopback"),
        (.real, "guest, not real: rtnetlink: no", "guest, not real: rtnetlink: no"),
        (.guest, "guest, not real: no", "guest"), (.loopback, "", "loopback"),
        (.real, "loopback, not real: no", "loopback, not real: no"),
        (.guest, "loopback, not real: no", "loopback, not guest: no address of an interface"),
        (.real, "", "real, if the guest can: twinport-agent status"),
        (.guest, "anything", "guest, if the guest can: twinport-agent status"),
        (.real, "guest", "guest, not real: "),
    ])
    func `what the settings want and what the guest can do`(
        wanted: ClientAddress, best: String, text: String
    ) {
        #expect(ClientView(wanted: wanted, best: best).text == text)
    }
}
