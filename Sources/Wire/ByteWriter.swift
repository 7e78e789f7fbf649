/// Collects one control frame. Kept and reused, so that writing a frame allocates nothing.
package struct ByteWriter: Sendable {
    /// The frames written so far.
    package private(set) var bytes: [UInt8] = []

    /// Makes an empty writer.
    package init() {
        bytes.reserveCapacity(512)
    }

    /// Forgets the frames, keeps the memory.
    package mutating func clear() {
        bytes.removeAll(keepingCapacity: true)
    }

    /// Adds a frame whose payload `body` writes.
    mutating func frame(
        _ type: FrameType, stream: UInt32 = 0, _ body: (inout ByteWriter) -> Void = { _ in }
    ) {
        let start = bytes.count
        integer(UInt64(0))
        body(&self)
        let length = bytes.count - start - FrameHeader.size
        precondition(length <= FrameHeader.maxControl)
        let packed = FrameHeader(type, length: length, stream: stream).packed
        for index in 0..<FrameHeader.size {
            bytes[start + index] = UInt8(truncatingIfNeeded: packed >> (8 * UInt64(index)))
        }
    }

    mutating func integer<Integer: FixedWidthInteger>(_ value: Integer) {
        for index in 0..<MemoryLayout<Integer>.size {
            bytes.append(UInt8(truncatingIfNeeded: value >> Integer(8 * index)))
        }
    }

    /// A length byte and at most 255 bytes of UTF-8, cut at a character.
    mutating func text(_ value: String) {
        var cut = value
        while cut.utf8.count > 255 { cut.removeLast() }
        bytes.append(UInt8(cut.utf8.count))
        bytes.append(contentsOf: cut.utf8)
    }

    mutating func raw(_ value: [UInt8]) {
        bytes.append(contentsOf: value)
    }
}
