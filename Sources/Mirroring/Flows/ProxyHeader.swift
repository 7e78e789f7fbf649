internal import TwinportModel

// The PROXY protocol, version 2, as HAProxy's specification has it (proxy-protocol.txt, section 2.2). A server that speaks it
// learns who its client is from the first bytes of the connection, whoever dialled it.
//
//     0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A   signature
//     21                                    version 2, PROXY
//     11 | 21                               TCP over IPv4 | IPv6
//     length, 16 bits                       12 | 36
//     client, dialled                       addresses, 4 | 16 bytes each
//     client, dialled                       ports, 16 bits each
//
// All numbers are big-endian.

/// The header with which a connection to a listener begins whose rule has `proxyProtocol: 2`.
enum ProxyHeader {
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let proxied: UInt8 = 0x21
    private static let tcpOverIPv4: UInt8 = 0x11
    private static let tcpOverIPv6: UInt8 = 0x21

    /// The header for a client that dialled `dialled`. IPv4 if both are, else IPv6.
    static func bytes(client: Endpoint, dialled: Endpoint) -> [UInt8] {
        let addresses = [client.address.unmapped, dialled.address.unmapped]
        let isIPv6 = addresses.contains(where: \.isIPv6)
        var body: [UInt8] = []
        for address in addresses { append(address, asIPv6: isIPv6, to: &body) }
        for port in [client.port, dialled.port] { append(port, to: &body) }
        var header = signature
        header.append(proxied)
        header.append(isIPv6 ? tcpOverIPv6 : tcpOverIPv4)
        append(UInt16(body.count), to: &header)
        return header + body
    }

    private static func append(_ address: IPAddress, asIPv6: Bool, to bytes: inout [UInt8]) {
        switch address {
        case .v4(let address) where asIPv6:
            append(.v6(IPv6Address(mapping: address)), asIPv6: true, to: &bytes)
        case .v4(let address): append(address.bits, to: &bytes)
        case .v6(let address):
            append(address.high, to: &bytes)
            append(address.low, to: &bytes)
        }
    }

    private static func append<Number: FixedWidthInteger>(_ number: Number, to bytes: inout [UInt8])
    {
        for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
