internal import TwinportModel

// Reading netlink(7)'s bytes, none of which is trusted: every read is checked against the end. Pure.

/// The attributes of a message, or within another one, in order, up to one that makes no sense.
struct NetlinkAttributes: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    mutating func next() -> (kind: UInt16, value: ArraySlice<UInt8>)? {
        guard let length = rest.nativeHalf(0).map(Int.init), let kind = rest.nativeHalf(2),
            length >= 4, length <= rest.count
        else { return nil }
        let value = rest.dropFirst(4).prefix(length - 4)
        rest = rest.dropFirst((length + 3) & ~3)
        // The two highest bits are flags.
        return (kind & 0x3fff, value)
    }

    /// The first attribute of a kind.
    func first(_ kind: UInt16) -> ArraySlice<UInt8>? {
        for attribute in self where attribute.kind == kind { return attribute.value }
        return nil
    }
}

extension ArraySlice<UInt8> {
    /// A number in network order; nil past the end.
    func big(_ offset: Int, size: Int) -> UInt64? {
        guard offset >= 0, size <= 8, count - offset >= size else { return nil }
        var number: UInt64 = 0
        for index in 0..<size { number = number << 8 | UInt64(self[startIndex + offset + index]) }
        return number
    }

    /// 16 bits in network order.
    func bigHalf(_ offset: Int) -> UInt16? {
        big(offset, size: 2).map { UInt16(truncatingIfNeeded: $0) }
    }

    /// 32 bits in network order.
    func bigWord(_ offset: Int = 0) -> UInt32? {
        big(offset, size: 4).map { UInt32(truncatingIfNeeded: $0) }
    }

    /// 16 bits in the machine's order.
    func nativeHalf(_ offset: Int) -> UInt16? { bigHalf(offset).map { UInt16(bigEndian: $0) } }

    /// 32 bits in the machine's order.
    func nativeWord(_ offset: Int = 0) -> UInt32? {
        bigWord(offset).map { UInt32(bigEndian: $0) }
    }

    /// The bytes from `offset` on, `size` of them; nil past the end.
    func part(_ offset: Int, _ size: Int) -> ArraySlice<UInt8>? {
        guard offset >= 0, size >= 0, count - offset >= size else { return nil }
        return self[startIndex + offset..<startIndex + offset + size]
    }

    /// Text up to a zero byte, printable and not long.
    var name: String {
        printable(String(decoding: prefix { $0 != 0 }, as: UTF8.self))
    }

    /// Text up to a zero byte, as it is: what tells a chain or a set from others.
    var exactName: String { String(decoding: prefix { $0 != 0 }.prefix(256), as: UTF8.self) }
}
