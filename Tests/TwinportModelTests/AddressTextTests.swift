import TestSupport
import Testing
import TwinportModel

@Suite struct AddressTextTests {
    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("0:0:0:0:0:0:0:1", "::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"), ("::FFFF:0102:0304", "::ffff:1.2.3.4"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("fe80::1", "fe80::1"),
    ]) func `IPv6 text is canonical`(input: String, canonical: String) throws {
        let address = try #require(IPv6Address(input))
        #expect(address.description == canonical)
        #expect(IPv6Address(canonical) == address)
    }

    @Test(arguments: [
        "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "g::", "12345::",
        "::1.2.3", "::1.2.3.256", "1:2:3:4:5:6:7::8", "::1%lo", "+1::",
    ]) func `malformed IPv6 text is refused`(text: String) {
        #expect(IPv6Address(text) == nil)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1..2.3", " 1.2.3.4", "+1.2.3.4",
    ]) func `malformed IPv4 text is refused`(text: String) {
        #expect(IPv4Address(text) == nil)
    }

    @Test func `every endpoint survives a round trip through text`() {
        var generator = SeededGenerator()
        for _ in 0..<2_000 {
            let v6 = IPv6Address(
                high: .random(in: 0...(.max), using: &generator) & .random(in: 0...(.max)),
                low: .random(in: 0...(.max), using: &generator) & .random(in: 0...(.max)))
            let v4 = IPv4Address(bits: .random(in: 0...(.max), using: &generator))
            for address in [IPAddress.v6(v6), .v4(v4)] {
                let endpoint = Endpoint(address, .random(in: 0...(.max)))
                #expect(Endpoint(endpoint.description) == endpoint)
            }
        }
    }

    @Test func `classes of addresses are told apart`() {
        #expect(IPAddress("127.255.0.9")?.isLoopback == true)
        #expect(IPAddress("128.0.0.1")?.isLoopback == false)
        #expect(IPAddress("::1")?.isLoopback == true)
        #expect(IPAddress("239.255.255.250")?.isMulticastOrBroadcast == true)
        #expect(IPAddress("ff02::fb")?.isMulticastOrBroadcast == true)
        #expect(IPAddress("::ffff:127.0.0.1")?.unmapped == .loopbackV4)
        #expect(IPAddress.anyV6.isWildcard && IPAddress.anyV4.isWildcard)
    }
}
