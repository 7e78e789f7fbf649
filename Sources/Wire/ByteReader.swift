/// Reads the fields of one payload in order. Every read is checked against the payload's end.
///
/// The bytes are passed to each call, because a span cannot be stored.
struct ByteReader {
    private var position: Int
    private let end: Int
    private let type: FrameType

    init(_ type: FrameType, _ payload: Range<Int>) {
        self.type = type
        position = payload.lowerBound
        end = payload.upperBound
    }

    /// Whether nothing follows.
    var isAtEnd: Bool { position == end }

    mutating func integer<Integer: FixedWidthInteger & UnsignedInteger>(
        _: Integer.Type, in bytes: Span<UInt8>
    ) throws(WireError) -> Integer {
        let size = MemoryLayout<Integer>.size
        guard end - position >= size else { throw .malformed(type) }
        var value: Integer = 0
        for index in 0..<size {
            value |= Integer(truncatingIfNeeded: bytes[position + index]) << (8 * index)
        }
        position += size
        return value
    }

    mutating func u8(_ bytes: Span<UInt8>) throws(WireError) -> UInt8 {
        try integer(UInt8.self, in: bytes)
    }

    mutating func u16(_ bytes: Span<UInt8>) throws(WireError) -> UInt16 {
        try integer(UInt16.self, in: bytes)
    }

    mutating func u32(_ bytes: Span<UInt8>) throws(WireError) -> UInt32 {
        try integer(UInt32.self, in: bytes)
    }

    mutating func u64(_ bytes: Span<UInt8>) throws(WireError) -> UInt64 {
        try integer(UInt64.self, in: bytes)
    }

    /// A text behind a length byte. Invalid UTF-8 is repaired and control characters become `?`: what a
    /// peer says of itself must not reach a terminal as commands.
    mutating func text(_ bytes: Span<UInt8>) throws(WireError) -> String {
        let count = Int(try u8(bytes))
        guard end - position >= count else { throw .malformed(type) }
        var units: [UInt8] = []
        units.reserveCapacity(count)
        for index in 0..<count { units.append(bytes[position + index]) }
        position += count
        let decoded = String(decoding: units, as: UTF8.self)
        return String(
            String.UnicodeScalarView(decoded.unicodeScalars.map { $0.isPlain ? $0 : "?" }))
    }

    mutating func fixed(_ count: Int, _ bytes: Span<UInt8>) throws(WireError) -> [UInt8] {
        guard end - position >= count else { throw .malformed(type) }
        defer { position += count }
        var result: [UInt8] = []
        for index in 0..<count { result.append(bytes[position + index]) }
        return result
    }

    /// The payload must end here.
    func finish() throws(WireError) {
        if position != end { throw .malformed(type) }
    }
}

extension Unicode.Scalar {
    /// Neither a control character nor one that reorders the text around it.
    fileprivate var isPlain: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: false
        default: true
        }
    }
}
