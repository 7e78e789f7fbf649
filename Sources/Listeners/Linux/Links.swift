internal import Sockets
internal import TwinportModel

// The machine's network interfaces, as rtnetlink(7) tells them: which device a socket is bound to, and which tunnel
// of the kernel has a UDP port. No privilege is needed.

/// One interface.
struct NetworkLink: Equatable {
    var index: UInt32
    var name: String
    /// As `ip -d link` shows it: `vxlan`, `vrf`, …; empty for most.
    var kind = ""
    var isLoopback = false
    /// The UDP port that a tunnel receives on, where its kind tells one.
    var port: Port?

    /// Kinds of tunnels over UDP whose port rtnetlink does not tell.
    static let opaqueTunnels: Set<String> = ["wireguard", "gtp", "amt", "ovpn", "batadv"]
}

/// Reads the kernel's answers. Pure.
enum LinkMessage {
    private static let done: UInt16 = 3
    private static let newLink: UInt16 = 16
    /// `struct nlmsghdr` and `struct ifinfomsg`.
    private static let headerSize = 16
    private static let messageSize = 16
    private static let loopbackFlag: UInt32 = 0x8
    /// IFLA_IFNAME, IFLA_LINKINFO; in the latter IFLA_INFO_KIND, IFLA_INFO_DATA.
    private static let name: UInt16 = 3
    private static let info: UInt16 = 18
    private static let infoKind: UInt16 = 1
    private static let infoData: UInt16 = 2
    /// IFLA_VXLAN_PORT, IFLA_GENEVE_PORT, IFLA_BAREUDP_PORT, by kind; in network order.
    private static let ports: [String: UInt16] = ["vxlan": 15, "geneve": 5, "bareudp": 1]

    /// A request for all links (RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP).
    static let request: [UInt8] =
        [32, 0, 0, 0, 18, 0, 0x01, 0x03, 1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 16)

    /// Reads one datagram of an answer.
    ///
    /// - Returns: Whether it was the last; nil when it makes no sense.
    static func read(_ bytes: [UInt8], count: Int, into links: inout [NetworkLink]) -> Bool? {
        var offset = 0
        let count = min(count, bytes.count)
        while count - offset >= headerSize {
            let length = Int(word(bytes, offset))
            guard length >= headerSize, length <= count - offset else { return nil }
            switch half(bytes, offset + 4) {
            case done: return true
            case newLink:
                let body = offset + headerSize
                guard let link = link(bytes, body..<offset + length) else { return nil }
                links.append(link)
            default: return nil
            }
            offset += (length + 3) & ~3
        }
        return offset >= count ? false : nil
    }

    private static func link(_ bytes: [UInt8], _ range: Range<Int>) -> NetworkLink? {
        guard range.count >= messageSize else { return nil }
        let start = range.lowerBound
        var link = NetworkLink(index: word(bytes, start + 4), name: "")
        link.isLoopback = word(bytes, start + 8) & loopbackFlag != 0
        attributes(bytes, start + messageSize..<range.upperBound) { type, value in
            if type == name { link.name = printable(text(bytes, value)) }
            if type == info { describe(&link, bytes, value) }
        }
        return link
    }

    private static func describe(_ link: inout NetworkLink, _ bytes: [UInt8], _ range: Range<Int>) {
        var data: Range<Int>?
        attributes(bytes, range) { type, value in
            if type == infoKind { link.kind = text(bytes, value) }
            if type == infoData { data = value }
        }
        guard let data, let wanted = ports[link.kind] else { return }
        attributes(bytes, data) { type, value in
            guard type == wanted, value.count >= 2 else { return }
            link.port = Port(bytes[value.lowerBound]) << 8 | Port(bytes[value.lowerBound + 1])
        }
    }

    /// Calls `body` with the type and the value's place of each attribute, up to one that makes no sense.
    private static func attributes(
        _ bytes: [UInt8], _ range: Range<Int>, _ body: (UInt16, Range<Int>) -> Void
    ) {
        var offset = range.lowerBound
        while range.upperBound - offset >= 4 {
            let length = Int(half(bytes, offset))
            guard length >= 4, length <= range.upperBound - offset else { return }
            body(half(bytes, offset + 2) & 0x3fff, offset + 4..<offset + length)
            offset += (length + 3) & ~3
        }
    }

    private static func text(_ bytes: [UInt8], _ range: Range<Int>) -> String {
        String(decoding: bytes[range].prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func half(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        UInt32(half(bytes, offset)) | UInt32(half(bytes, offset + 2)) << 16
    }
}

/// The interfaces of one network namespace, read again when somebody asks at a later time. Owned by one thread.
final class Links {
    private let socket: DiagSocket
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    private var links: [NetworkLink] = []
    private var readAt: Instant?

    /// Opens the conversation; nil where the kernel has none.
    init?() {
        guard let socket = try? DiagSocket(toRoute: true) else { return nil }
        self.socket = socket
    }

    /// All of them, as they are at `now`; as they were, when the kernel does not answer.
    func all(at now: Instant) -> [NetworkLink] {
        if readAt == now { return links }
        readAt = now
        if let fresh = read() { links = fresh }
        return links
    }

    private func read() -> [NetworkLink]? {
        guard (try? socket.send(LinkMessage.request)) != nil else { return nil }
        var fresh: [NetworkLink] = []
        while let count = (try? socket.receive(into: &buffer)) ?? nil, count > 0 {
            guard let isLast = LinkMessage.read(buffer, count: count, into: &fresh) else { break }
            if isLast { return fresh }
        }
        socket.drain()
        return nil
    }
}
