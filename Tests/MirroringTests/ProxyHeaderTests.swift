import Testing
import TwinportModel

@testable import Mirroring

@Suite struct ProxyHeaderTests {
    private static let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

    @Test func `IPv4, byte by byte`() {
        let header = ProxyHeader.bytes(
            client: Endpoint("192.168.1.7:51000")!, dialled: Endpoint("10.0.0.1:443")!)
        #expect(
            header == Self.signature + [
                0x21, 0x11, 0, 12, 192, 168, 1, 7, 10, 0, 0, 1, 0xC7, 0x38, 0x01, 0xBB,
            ])
    }

    @Test func `IPv6, byte by byte`() {
        let header = ProxyHeader.bytes(
            client: Endpoint("[2001:db8::7]:1")!, dialled: Endpoint("[::1]:65535")!)
        let client: [UInt8] = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]
        let dialled = [UInt8](repeating: 0, count: 15) + [1]
        #expect(
            header == Self.signature + [0x21, 0x21, 0, 36] + client + dialled + [0, 1, 255, 255])
    }

    @Test func `addresses of two families are both IPv6, mapped ones are IPv4`() {
        let mixed = ProxyHeader.bytes(
            client: Endpoint("1.2.3.4:5")!, dialled: Endpoint("[::1]:6")!)
        #expect(mixed.count == 16 + 36 && mixed[13] == 0x21)
        #expect(mixed[16..<32].suffix(6) == [0xFF, 0xFF, 1, 2, 3, 4])
        let mapped = ProxyHeader.bytes(
            client: Endpoint("[::ffff:1.2.3.4]:5")!, dialled: Endpoint("[::ffff:5.6.7.8]:6")!)
        #expect(
            mapped
                == ProxyHeader.bytes(
                    client: Endpoint("1.2.3.4:5")!, dialled: Endpoint("5.6.7.8:6")!))
    }
}
