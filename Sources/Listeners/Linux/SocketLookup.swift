internal import Sockets
package import TwinportModel

/// Asks the kernel about single sockets of other processes (sock_diag(7), an exact look-up). Owned by one thread. Each
/// question is two system calls.
package final class SocketLookup {
    private static let established: UInt8 = 1
    private static let keepAliveTimer: UInt8 = 2

    private let socket: DiagSocket
    private var buffer = [UInt8](repeating: 0, count: 4_096)

    /// Opens the conversation; nil where the kernel has none.
    package init?() {
        guard let socket = try? DiagSocket() else { return nil }
        self.socket = socket
    }

    /// How many milliseconds are left until the kernel probes the other end of a TCP connection.
    ///
    /// - Parameters:
    ///   - local: The end of the socket that is asked about.
    ///   - remote: Its other end.
    /// - Returns: Nil when there is no such connection, or it does not use keep-alive.
    package func keepAliveLeft(local: Endpoint, remote: Endpoint) -> UInt32? {
        guard let row = ask(.tcp, local, remote) else { return nil }
        return row.state == Self.established && row.timer == Self.keepAliveTimer
            ? row.expires : nil
    }

    /// Whether a datagram from `sender` to `receiver`, an address of this machine, would find a socket.
    package func hasReceiver(_ receiver: Endpoint, from sender: Endpoint) -> Bool {
        // The kernel takes both in this order for UDP, for historical reasons (udp_diag.c).
        ask(.udp, sender, receiver) != nil
    }

    private func ask(
        _ transport: TransportProtocol, _ source: Endpoint, _ destination: Endpoint
    ) -> DiagMessage.Single? {
        socket.drain()
        let request = DiagMessage.single(transport.rawValue, source, destination)
        guard (try? socket.send(request)) != nil,
            let count = try? socket.receive(into: &buffer)
        else { return nil }
        return DiagMessage.single(in: buffer, count: count)
    }
}

extension DiagMessage {
    /// What an exact look-up tells of a socket.
    struct Single: Equatable {
        let state: UInt8
        /// 2: keep-alive.
        let timer: UInt8
        /// Milliseconds until the timer ends.
        let expires: UInt32
    }

    /// A request for the one socket with these two ends, which are of one family.
    static func single(
        _ protocolNumber: UInt8, _ source: Endpoint, _ destination: Endpoint
    ) -> [UInt8] {
        // nlmsghdr: length 72, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence 1, port 0
        var bytes: [UInt8] = [72, 0, 0, 0, 20, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        // inet_diag_req_v2: family, protocol, no extensions, all states
        bytes += [source.address.isIPv6 ? 10 : 2, protocolNumber, 0, 0, 255, 255, 255, 255]
        for endpoint in [source, destination] {
            bytes += [UInt8(endpoint.port >> 8), UInt8(truncatingIfNeeded: endpoint.port)]
        }
        for endpoint in [source, destination] { bytes += addressBytes(endpoint.address) }
        // any interface, no cookie
        return bytes + [0, 0, 0, 0] + [UInt8](repeating: 255, count: 8)
    }

    private static func addressBytes(_ address: IPAddress) -> [UInt8] {
        switch address {
        case .v4(let v4):
            return bigEndian(v4.bits) + [UInt8](repeating: 0, count: 12)
        case .v6(let v6):
            return bigEndian(v6.high) + bigEndian(v6.low)
        }
    }

    private static func bigEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        var bytes: [UInt8] = []
        for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
        return bytes
    }

    /// The answer to ``single(_:_:_:)``; nil when there is no such socket.
    static func single(in bytes: [UInt8], count: Int) -> Single? {
        let count = min(count, bytes.count)
        guard count >= 16 + 72, bytes[4] == 20, bytes[5] == 0 else { return nil }
        var expires: UInt32 = 0
        for byte in bytes[(16 + 52)..<(16 + 56)].reversed() {
            expires = expires << 8 | UInt32(byte)
        }
        return Single(state: bytes[17], timer: bytes[18], expires: expires)
    }
}
