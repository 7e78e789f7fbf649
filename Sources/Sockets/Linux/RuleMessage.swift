internal import TwinportModel

// Requests to rtnetlink(7) about policy rules and the table that they lead to. Pure.

/// Builds requests, and reads what the kernel answers.
enum RuleMessage {
    /// Names our rules and routes (FRA_PROTOCOL, rtm_protocol) among those of others; see /etc/iproute2/rt_protos.
    static let origin: UInt8 = 84
    /// Behind the rule for the machine's own addresses, which is 0, and ahead of those that VPNs add.
    static let priority: UInt32 = 60
    /// `struct nlmsghdr`, `struct fib_rule_hdr`.
    static let headerSize = 16
    static let ruleSize = 12

    enum Kind {
        static let error: UInt16 = 2
        static let done: UInt16 = 3
        static let newRoute: UInt16 = 24
        static let deleteRoute: UInt16 = 25
        static let newRule: UInt16 = 32
        static let deleteRule: UInt16 = 33
        static let getRule: UInt16 = 34
    }

    private enum Flag {
        static let requestAck: UInt16 = 0x5
        static let dump: UInt16 = 0x301
        static let createNew: UInt16 = 0x600
    }

    /// What a rule asks of a packet.
    struct Match {
        var isIPv6: Bool
        /// Whether it is from loopback.
        var isFromLoopback: Bool
        var to: IPAddress?
        /// As in IPPROTO_UDP.
        var transport: UInt8
        var sourcePort: Port?
        var port: Port?
    }

    /// Adds or deletes a rule that sends a packet of this machine to `table`.
    static func rule(_ match: Match, table: UInt32, isDeleted: Bool) -> [UInt8] {
        let from = match.isFromLoopback ? loopback(match.isIPv6) : nil
        let to = match.to.map { ($0.bytes, $0.isIPv6 ? UInt8(128) : 32) }
        var body: [UInt8] = [
            family(match.isIPv6), to?.1 ?? 0, from?.1 ?? 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
        ]
        if let to { attribute(1, to.0, to: &body) }
        if let from { attribute(2, from.0, to: &body) }
        attribute(3, Array("lo".utf8) + [0], to: &body)
        attribute(6, bytes(priority), to: &body)
        attribute(15, bytes(table), to: &body)
        attribute(21, [origin], to: &body)
        attribute(22, [match.transport], to: &body)
        if let port = match.sourcePort { attribute(23, bytes(port) + bytes(port), to: &body) }
        if let port = match.port { attribute(24, bytes(port) + bytes(port), to: &body) }
        return request(isDeleted ? Kind.deleteRule : Kind.newRule, body, isNew: !isDeleted)
    }

    /// Adds or deletes the route of `table`: everything is local, and is answered from loopback.
    static func route(
        isIPv6: Bool, table: UInt32, loopbackInterface: UInt32, isDeleted: Bool
    ) -> [UInt8] {
        // Scope host, type local.
        var body: [UInt8] = [family(isIPv6), 0, 0, 0, 0, origin, 254, 2, 0, 0, 0, 0]
        attribute(4, bytes(loopbackInterface), to: &body)
        let source: IPAddress = isIPv6 ? .loopbackV6 : .loopbackV4
        attribute(7, source.bytes, to: &body)
        attribute(15, bytes(table), to: &body)
        return request(isDeleted ? Kind.deleteRoute : Kind.newRoute, body, isNew: !isDeleted)
    }

    /// Asks for all rules of a family.
    static func dump(isIPv6: Bool) -> [UInt8] {
        let body = [family(isIPv6)] + [UInt8](repeating: 0, count: ruleSize - 1)
        return message(Kind.getRule, Flag.dump, body)
    }

    /// Deletes the rule that a dump listed with this body.
    static func deletion(ofListed body: ArraySlice<UInt8>) -> [UInt8] {
        request(Kind.deleteRule, Array(body), isNew: false)
    }

    private static func request(_ kind: UInt16, _ body: [UInt8], isNew: Bool) -> [UInt8] {
        message(kind, isNew ? Flag.requestAck | Flag.createNew : Flag.requestAck, body)
    }

    private static func message(_ kind: UInt16, _ flags: UInt16, _ body: [UInt8]) -> [UInt8] {
        bytes(UInt32(headerSize + body.count)) + bytes(kind) + bytes(flags)
            + [UInt8](repeating: 0, count: 8) + body
    }

    private static func family(_ isIPv6: Bool) -> UInt8 { isIPv6 ? 10 : 2 }

    private static func loopback(_ isIPv6: Bool) -> ([UInt8], UInt8) {
        isIPv6
            ? (IPAddress.loopbackV6.bytes, 128) : (IPAddress.v4(IPv4Address(127, 0, 0, 0)).bytes, 8)
    }

    /// In host order, as netlink has it.
    private static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        #if _endian(big)
            let shifts = (0..<Number.bitWidth / 8).reversed()
        #else
            let shifts = 0..<Number.bitWidth / 8
        #endif
        return shifts.map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func attribute(_ kind: UInt16, _ value: [UInt8], to body: inout [UInt8]) {
        body += bytes(UInt16(4 + value.count)) + bytes(kind) + value
        body += [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    }

    // MARK: Answers

    /// Calls `body` with the kind and the place of the body of each message in `buffer`, up to one that makes no sense.
    static func each(
        in buffer: [UInt8], count: Int, _ body: (_ kind: UInt16, _ place: Range<Int>) -> Void
    ) {
        var offset = 0
        let count = min(count, buffer.count)
        while count - offset >= headerSize {
            let length = Int(word(buffer, offset))
            guard length >= headerSize, length <= count - offset else { return }
            body(half(buffer, offset + 4), offset + headerSize..<offset + length)
            offset += (length + 3) & ~3
        }
    }

    /// The errno in a message of the kind ``Kind/error``, 0 if it says that all is well.
    static func errorCode(in buffer: [UInt8], _ place: Range<Int>) -> Int32 {
        guard place.count >= 4 else { return 0 }
        return 0 &- Int32(bitPattern: word(buffer, place.lowerBound))
    }

    /// The table to which a rule leads that a dump listed; nil when the rule is not ours.
    static func table(of buffer: [UInt8], _ place: Range<Int>) -> UInt32? {
        var table: UInt32?
        var isOfOrigin = false
        var offset = place.lowerBound + ruleSize
        while place.upperBound - offset >= 4 {
            let length = Int(half(buffer, offset))
            guard length >= 4, length <= place.upperBound - offset else { break }
            switch half(buffer, offset + 2) {
            case 15 where length >= 8: table = word(buffer, offset + 4)
            case 21 where length >= 5: isOfOrigin = buffer[offset + 4] == origin
            default: break
            }
            offset += (length + 3) & ~3
        }
        return isOfOrigin ? table : nil
    }

    private static func half(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        let (first, second) = (UInt16(bytes[offset]), UInt16(bytes[offset + 1]))
        #if _endian(big)
            return first << 8 | second
        #else
            return second << 8 | first
        #endif
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        let (first, second) = (UInt32(half(bytes, offset)), UInt32(half(bytes, offset + 2)))
        #if _endian(big)
            return first << 16 | second
        #else
            return second << 16 | first
        #endif
    }
}

extension IPAddress {
    /// In network order.
    fileprivate var bytes: [UInt8] {
        switch self {
        case .v4(let address):
            (0..<4).map { UInt8(truncatingIfNeeded: address.bits >> (24 - 8 * $0)) }
        case .v6(let address):
            [address.high, address.low].flatMap { half in
                (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) }
            }
        }
    }
}
