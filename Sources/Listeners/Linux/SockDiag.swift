internal import Sockets
internal import TwinportModel

// What sock_diag(7) says of sockets: the request and the answer as bytes (pure), and the conversation.

/// Builds requests and reads answers.
enum DiagMessage {
    private static let headerSize = 16
    private static let messageSize = 72
    private static let familyV4: UInt8 = 2
    private static let familyV6: UInt8 = 10
    private static let attributeV6Only: UInt16 = 11
    private static let attributeOptions: UInt16 = 22

    /// A request for all sockets of a family and protocol in the given states.
    static func dump(isIPv6: Bool, protocolNumber: UInt8, states: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ value: UInt32, _ size: Int) {
            for index in 0..<size {
                bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * index)))
            }
        }
        add(72, 4)  // nlmsg_len: header 16 + inet_diag_req_v2 56
        add(20, 2)  // SOCK_DIAG_BY_FAMILY
        add(0x301, 2)  // NLM_F_REQUEST | NLM_F_DUMP
        add(1, 4)
        add(0, 4)
        bytes += [isIPv6 ? familyV6 : familyV4, protocolNumber, 0, 0]
        add(states, 4)
        bytes += [UInt8](repeating: 0, count: 48)
        return bytes
    }

    enum End: Equatable {
        case more
        case done
        case failed
    }

    /// Whether a datagram of an answer is the last.
    static func end(_ bytes: [UInt8], count: Int) -> End {
        var end = End.more
        let isWhole = walk(bytes, count: count) { type, _, _ in
            switch type {
            case done: end = .done
            case byFamily: break
            default: end = .failed
            }
            return end == .more
        }
        return isWhole ? end : .failed
    }

    /// The sockets in a whole answer; nil when it is not one.
    static func rows(_ kind: SocketKind, _ bytes: [UInt8]) -> [SocketRow]? {
        var rows: [SocketRow] = []
        var isGood = true
        let isWhole = walk(bytes, count: bytes.count) { type, start, end in
            guard type == byFamily else {
                isGood = type == done
                return isGood
            }
            guard let row = row(kind, bytes, start, end) else {
                isGood = false
                return false
            }
            rows.append(row)
            return true
        }
        return isWhole && isGood ? rows : nil
    }

    private static let byFamily: UInt16 = 20
    private static let done: UInt16 = 3

    /// Calls `body` with type and payload range of each message until it returns false.
    ///
    /// - Returns: False when a length is impossible.
    private static func walk(
        _ bytes: [UInt8], count: Int, _ body: (UInt16, Int, Int) -> Bool
    ) -> Bool {
        let count = min(count, bytes.count)
        var offset = 0
        while count - offset >= headerSize {
            let length = Int(word(bytes, offset))
            guard length >= headerSize, length <= count - offset else { return false }
            guard body(half(bytes, offset + 4), offset + headerSize, offset + length) else {
                return true
            }
            offset += (length + 3) & ~3
        }
        return true
    }

    private static func row(
        _ kind: SocketKind, _ bytes: [UInt8], _ start: Int, _ end: Int
    ) -> SocketRow? {
        guard end - start >= messageSize else { return nil }
        let port = UInt16(bytes[start + 4]) << 8 | UInt16(bytes[start + 5])
        let address: IPAddress
        switch bytes[start] {
        case familyV4: address = .v4(IPv4Address(bits: word(bytes, start + 8).byteSwapped))
        case familyV6:
            let words = (0..<4).map { UInt64(word(bytes, start + 8 + 4 * $0).byteSwapped) }
            address = .v6(
                IPv6Address(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3]))
        default: return nil
        }
        let options = attribute(attributeOptions, bytes, start + messageSize, end)
        let mark = options.flatMap { isMirror(bytes, $0) }
        return SocketRow(
            kind: kind, endpoint: Endpoint(address, port).unmapped, state: bytes[start + 1],
            uid: word(bytes, start + 64), inode: UInt64(word(bytes, start + 68)),
            isV6Only: attribute(attributeV6Only, bytes, start + messageSize, end)
                .map { bytes[$0.lowerBound] != 0 },
            device: word(bytes, start + 40), isMirror: mark,
            isPage: mark == true && options.map { bytes[$0.lowerBound] & 4 != 0 } == true)
    }

    /// Whether the options are those of a Twinport's mirror: multicast neither looped nor taken from other
    /// programs' groups, and bind without a port delayed (struct inet_diag_sockopt); nil before Linux 5.10. Those of a page
    /// also have free binding.
    private static func isMirror(_ bytes: [UInt8], _ options: Range<Int>) -> Bool? {
        guard options.count >= 2 else { return nil }
        return bytes[options.lowerBound] & 0x50 == 0 && bytes[options.lowerBound + 1] & 1 == 1
    }

    /// Where an attribute's value is; nil when it is missing or empty.
    private static func attribute(
        _ type: UInt16, _ bytes: [UInt8], _ start: Int, _ end: Int
    ) -> Range<Int>? {
        var offset = start
        while end - offset >= 4 {
            let length = Int(half(bytes, offset))
            guard length >= 4, length <= end - offset else { return nil }
            if half(bytes, offset + 2) == type, length >= 5 {
                return (offset + 4)..<(offset + length)
            }
            offset += (length + 3) & ~3
        }
        return nil
    }

    private static func half(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        UInt32(half(bytes, offset)) | UInt32(half(bytes, offset + 2)) << 16
    }
}

/// Asks the kernel for sockets. Owned by one thread.
final class SockDiag {
    private let socket: DiagSocket
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    /// Opens the conversation; nil where the kernel has none.
    init?() {
        guard let socket = try? DiagSocket() else { return nil }
        self.socket = socket
    }

    /// What the kernel answers when asked for all sockets of a kind in one state, both families, as bytes:
    /// two answers that are equal mean that nothing changed. Nil when it refuses or fails.
    func answer(_ kind: SocketKind, state: UInt8) -> [UInt8]? {
        guard let transport = kind.transport else { return nil }
        var answer: [UInt8] = []
        for isIPv6 in [false, true] {
            let request = DiagMessage.dump(
                isIPv6: isIPv6, protocolNumber: transport.rawValue, states: 1 << UInt32(state))
            guard (try? socket.send(request)) != nil, collect(kind, &answer) else {
                socket.drain()
                return nil
            }
        }
        return answer
    }

    /// The sockets in an answer; nil when it is not one.
    func rows(_ kind: SocketKind, in answer: [UInt8]) -> [SocketRow]? {
        DiagMessage.rows(kind, answer)
    }

    /// Both steps.
    func rows(_ kind: SocketKind, state: UInt8) -> [SocketRow]? {
        answer(kind, state: state).flatMap { rows(kind, in: $0) }
    }

    /// Receives one dump to its end.
    private func collect(_ kind: SocketKind, _ answer: inout [UInt8]) -> Bool {
        while true {
            guard let count = try? socket.receive(into: &buffer), count > 0 else { return false }
            answer += buffer[..<count]
            switch DiagMessage.end(buffer, count: count) {
            case .more: continue
            case .done: return true
            case .failed: return false
            }
        }
    }
}
