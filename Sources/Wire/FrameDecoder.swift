/// Cuts a byte stream into frames. A pull parser: it consumes nothing it does not return, and running out
/// of bytes is a normal answer.
///
/// Control frames come out whole. DATA comes out as its bytes arrive, so that a 256 KiB frame is never
/// collected first. Unknown types from 0x80 up are skipped. Lengths are checked against the type's limit
/// before anything else is done with a frame.
package struct FrameDecoder: Sendable {
    /// What the next bytes are.
    package enum Step: Equatable, Sendable {
        /// More bytes are needed.
        case incomplete
        /// A whole frame other than DATA; the payload as positions in the given bytes.
        case frame(FrameHeader, payload: Range<Int>)
        /// The next bytes of a DATA frame.
        case data(stream: UInt32, bytes: Range<Int>)
    }

    private var dataStream: UInt32 = 0
    private var dataLeft = 0
    private var skipLeft = 0
    /// How many frames of unknown types were skipped so far, modulo 2^64.
    package private(set) var skipped: UInt64 = 0

    /// Starts at a frame's first byte.
    package init() {}

    /// Takes the next step from `bytes[position...]` and moves `position` past what it used.
    ///
    /// - Throws: ``WireError`` for frames that are too long, unknown or empty where they must not be.
    package mutating func next(
        in bytes: Span<UInt8>, from position: inout Int
    ) throws(WireError) -> Step {
        while true {
            if dataLeft > 0 { return nextData(in: bytes, from: &position) }
            if skipLeft > 0, !skip(in: bytes, from: &position) { return .incomplete }
            guard bytes.count - position >= FrameHeader.size else { return .incomplete }
            let header = Self.header(in: bytes, at: position)
            guard let type = header.type else {
                try beginSkipping(header)
                position += FrameHeader.size
                continue
            }
            if type == .data {
                try beginData(header)
                position += FrameHeader.size
                continue
            }
            guard header.length <= FrameHeader.maxControl else {
                throw .tooLong(rawType: header.rawType, length: header.length)
            }
            let start = position + FrameHeader.size
            guard bytes.count - start >= header.length else { return .incomplete }
            position = start + header.length
            return .frame(header, payload: start..<position)
        }
    }

    private mutating func nextData(in bytes: Span<UInt8>, from position: inout Int) -> Step {
        let available = min(dataLeft, bytes.count - position)
        guard available > 0 else { return .incomplete }
        let start = position
        position += available
        dataLeft -= available
        return .data(stream: dataStream, bytes: start..<position)
    }

    private mutating func skip(in bytes: Span<UInt8>, from position: inout Int) -> Bool {
        let available = min(skipLeft, bytes.count - position)
        position += available
        skipLeft -= available
        return skipLeft == 0
    }

    private mutating func beginData(_ header: FrameHeader) throws(WireError) {
        guard header.length <= FrameHeader.maxData else {
            throw .tooLong(rawType: header.rawType, length: header.length)
        }
        guard header.length > 0 else { throw .emptyData }
        guard header.stream != 0 else { throw .wrongStream(.data) }
        dataStream = header.stream
        dataLeft = header.length
    }

    private mutating func beginSkipping(_ header: FrameHeader) throws(WireError) {
        guard header.rawType >= 0x80 else { throw .unknownType(header.rawType) }
        guard header.length <= FrameHeader.maxControl else {
            throw .tooLong(rawType: header.rawType, length: header.length)
        }
        skipLeft = header.length
        skipped &+= 1
    }

    /// The payload of the frame at `position`, if it is there whole, is of `type` and belongs to `stream`: several frames
    /// for one receiver can be taken at once. To be asked right behind a frame that came out whole, and not for
    /// DATA. What makes a frame invalid is left to ``next(in:from:)``.
    package static func follower(
        in bytes: Span<UInt8>, at position: Int, _ type: FrameType, on stream: UInt32
    ) -> Range<Int>? {
        guard bytes.count - position >= FrameHeader.size else { return nil }
        let header = Self.header(in: bytes, at: position)
        guard header.rawType == type.rawValue, header.stream == stream,
            header.length <= FrameHeader.maxControl
        else { return nil }
        let start = position + FrameHeader.size
        guard bytes.count - start >= header.length else { return nil }
        return start..<(start + header.length)
    }

    private static func header(in bytes: Span<UInt8>, at position: Int) -> FrameHeader {
        var packed: UInt64 = 0
        for index in 0..<FrameHeader.size {
            packed |= UInt64(bytes[position + index]) << (8 * UInt64(index))
        }
        return FrameHeader(packed: packed)
    }
}
