import TestSupport
import Testing

@testable import Sockets

@Suite struct IOBufferTests {
    @Test func `random operations leave what an array of bytes would hold`() {
        var generator = SeededGenerator()
        let buffer = IOBuffer(capacity: 256)
        var model: [UInt8] = []
        for _ in 0..<5_000 {
            switch Int.random(in: 0..<6, using: &generator) {
            case 0:
                let bytes = generator.bytes(.random(in: 0...40, using: &generator))
                guard buffer.space >= bytes.count else { continue }
                buffer.append(bytes)
                model += bytes
            case 1:
                let amount = Int.random(in: 0...model.count, using: &generator)
                buffer.consume(amount)
                model.removeFirst(amount)
            case 2: buffer.compact()
            case 3:
                guard buffer.space >= 8 else { continue }
                let value = UInt64.random(in: 0...(.max), using: &generator)
                let mark = buffer.mark
                buffer.append(UInt64(0))
                buffer.patch(value, at: mark)
                model += (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            case 4:
                let (mark, bytes) = (buffer.mark, generator.bytes(3))
                guard buffer.space >= 3 else { continue }
                buffer.append(bytes.span)
                buffer.truncate(to: mark)
            default:
                let limit = Int.random(in: 0...20, using: &generator)
                let added = buffer.fill(limit: limit) { room in
                    for index in room.indices { room[index] = UInt8(index) }
                    return room.count
                }
                model += (0..<(added ?? 0)).map { UInt8($0) }
            }
            #expect(buffer.count == model.count && buffer.isEmpty == model.isEmpty)
            #expect(
                buffer.withReadable { [UInt8](copying: $0) } == model, "seed \(generator.seed)")
        }
    }
}
