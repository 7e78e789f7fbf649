internal import TwinportModel

/// Walks a table line by line and field by field, over bytes. Every step is checked; none allocates.
struct LineScanner {
    private let bytes: [UInt8]
    private var position = 0
    private var lineEnd = 0
    private var nextStart = 0
    /// The number of the current line, from 1.
    private(set) var line = 0

    private static let newline = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")
    private static let tab = UInt8(ascii: "\t")
    private static let colon = UInt8(ascii: ":")

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Whether every line was walked and the last one was whole.
    var isAtEnd: Bool { nextStart == bytes.count }

    /// Moves to the next line that ends in a newline; false when there is none.
    mutating func nextLine() -> Bool {
        var end = nextStart
        while end < bytes.count, bytes[end] != Self.newline { end += 1 }
        guard end < bytes.count else { return false }
        position = nextStart
        lineEnd = end
        nextStart = end + 1
        line += 1
        return true
    }

    /// Moves to the last line that ends in a newline, unless it is the first (the header).
    mutating func lastWholeLine() -> Bool {
        guard let end = bytes.lastIndex(of: Self.newline),
            let before = bytes[..<end].lastIndex(of: Self.newline)
        else { return false }
        position = before + 1
        lineEnd = end
        return true
    }

    private mutating func skipSpace() {
        while position < lineEnd, bytes[position] == Self.space || bytes[position] == Self.tab {
            position += 1
        }
    }

    /// Passes over a field; false when the line has no more.
    mutating func skipField() -> Bool {
        skipSpace()
        let start = position
        while position < lineEnd, bytes[position] != Self.space, bytes[position] != Self.tab {
            position += 1
        }
        return position > start
    }

    /// The next field as text.
    mutating func text() -> String? {
        skipSpace()
        let start = position
        guard skipField() else { return nil }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    /// The next field, or the start of it, as exactly so many hexadecimal digits.
    mutating func hexadecimal(digits: Int) -> UInt64? {
        skipSpace()
        guard digits <= 16, lineEnd - position >= digits else { return nil }
        var value: UInt64 = 0
        for _ in 0..<digits {
            guard let digit = Self.hexDigit(bytes[position]) else { return nil }
            value = value << 4 | UInt64(digit)
            position += 1
        }
        return value
    }

    /// The next field as a decimal number.
    mutating func decimal() -> UInt64? {
        skipSpace()
        let start = position
        var value: UInt64 = 0
        while position < lineEnd, case let digit = bytes[position] &- 48, digit < 10 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
            guard !overflow, !carry else { return nil }
            value = sum
            position += 1
        }
        return position > start ? value : nil
    }

    /// The next field as `ADDRESS:PORT`, 8 or 32 digits before the colon.
    mutating func endpoint() -> Endpoint? {
        skipSpace()
        var end = position
        while end < lineEnd, bytes[end] != Self.colon { end += 1 }
        let address: IPAddress
        switch end - position {
        case 8:
            guard let word = hexadecimal(digits: 8) else { return nil }
            address = .v4(IPv4Address(bits: Self.networkWord(word)))
        case 32:
            guard let a = hexadecimal(digits: 8), let b = hexadecimal(digits: 8),
                let c = hexadecimal(digits: 8), let d = hexadecimal(digits: 8)
            else { return nil }
            let words = [a, b, c, d].map { UInt64(Self.networkWord($0)) }
            address = .v6(
                IPv6Address(high: words[0] << 32 | words[1], low: words[2] << 32 | words[3]))
        default:
            return nil
        }
        guard position < lineEnd, bytes[position] == Self.colon else { return nil }
        position += 1
        guard let port = hexadecimal(digits: 4) else { return nil }
        return Endpoint(address, UInt16(truncatingIfNeeded: port))
    }

    /// A word printed in the machine's order, as the number it is in network order.
    private static func networkWord(_ printed: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: printed).bigEndian
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}
