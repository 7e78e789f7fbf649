import TestSupport
import Testing
import TwinportModel
import Wire

/// All frames a decoder finds when the bytes arrive in the given pieces.
private func decode(_ bytes: [UInt8], pieces: [Int]) throws -> [String] {
    var decoder = FrameDecoder()
    var buffer: [UInt8] = []
    var found: [String] = []
    var data: [UInt32: Int] = [:]
    var start = 0
    for piece in pieces + [bytes.count] {
        let end = min(bytes.count, max(start, piece))
        buffer += bytes[start..<end]
        start = end
        var position = 0
        let snapshot = buffer
        loop: while true {
            switch try decoder.next(in: snapshot.span, from: &position) {
            case .incomplete: break loop
            case .frame(let header, let payload):
                found.append("\(header.rawType) \(header.stream) \(Array(buffer[payload]))")
            case .data(let stream, let range):
                // DATA may come in any number of pieces: what counts is the sum.
                data[stream, default: 0] += range.reduce(0) { $0 + Int(buffer[$1]) + 1 }
            }
        }
        buffer.removeFirst(position)
    }
    return found + data.sorted { $0.key < $1.key }.map { "data \($0.key) \($0.value)" }
}

private func headerBytes(_ type: UInt8, _ length: Int, _ stream: UInt32 = 0) -> [UInt8] {
    withUnsafeBytes(
        of: FrameHeader(rawType: type, length: length, stream: stream).packed.littleEndian
    ) {
        Array($0)
    }
}

@Suite struct FrameDecoderTests {
    private var sample: [UInt8] {
        var writer = ByteWriter()
        Frames.writeNumber(.ping, 7, to: &writer)
        let stream = StreamID(slot: 1, generation: 0, isGuestOpened: true)
        Frames.writeFin(stream, to: &writer)
        return writer.bytes + headerBytes(0x13, 5, stream.rawValue) + [1, 2, 3, 4, 5]
            + headerBytes(0xf0, 3) + [9, 9, 9] + headerBytes(0x21, 8) + [1, 0, 0, 0, 0, 0, 0, 0]
    }

    @Test func `frames come out the same at every split`() throws {
        let whole = try decode(sample, pieces: [])
        #expect(whole.count == 4)
        for first in 0...sample.count {
            for second in first...sample.count {
                #expect(try decode(sample, pieces: [first, second]) == whole)
            }
        }
    }

    @Test func `frames come out the same one byte at a time`() throws {
        #expect(try decode(sample, pieces: Array(0..<sample.count)) == decode(sample, pieces: []))
    }

    @Test func `lengths are accepted up to each limit and refused one above`() throws {
        _ = try decode(headerBytes(0x13, FrameHeader.maxData, 2), pieces: [])
        #expect(throws: WireError.tooLong(rawType: 0x13, length: FrameHeader.maxData + 1)) {
            try decode(headerBytes(0x13, FrameHeader.maxData + 1, 2), pieces: [])
        }
        _ = try decode(headerBytes(0x17, 65_535, 2), pieces: [])
        #expect(throws: WireError.tooLong(rawType: 0x17, length: 65_536)) {
            try decode(headerBytes(0x17, 65_536, 2), pieces: [])
        }
        #expect(throws: WireError.tooLong(rawType: 0x80, length: 65_536)) {
            try decode(headerBytes(0x80, 65_536), pieces: [])
        }
        #expect(throws: WireError.emptyData) { try decode(headerBytes(0x13, 0, 2), pieces: []) }
        #expect(throws: WireError.wrongStream(.data)) {
            try decode(headerBytes(0x13, 1), pieces: [])
        }
        #expect(throws: WireError.unknownType(0x7f)) {
            try decode(headerBytes(0x7f, 0), pieces: [])
        }
    }

    @Test func `random bytes never trap`() {
        var generator = SeededGenerator()
        for _ in 0..<20_000 {
            var bytes = generator.bytes(.random(in: 0...64, using: &generator))
            if Bool.random(using: &generator), !bytes.isEmpty {
                let types = FrameType.allCases
                bytes[0] = types.randomElement(using: &generator)!.rawValue
            }
            _ = try? decode(bytes, pieces: [])
        }
    }
}
