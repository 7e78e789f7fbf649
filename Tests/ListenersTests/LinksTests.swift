import TestSupport
import Testing

@testable import Listeners

/// Writes what the kernel answers to a request for links.
private struct Answer {
    var bytes: [UInt8] = []

    static func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        let length = value.count + 4
        let padding = [UInt8](repeating: 0, count: (4 - length % 4) % 4)
        return little(UInt32(length), 2) + little(UInt32(type), 2) + value + padding
    }

    static func little(_ value: UInt32, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    mutating func add(_ type: UInt32, _ body: [UInt8]) {
        bytes += Self.little(UInt32(16 + body.count), 4) + Self.little(type, 2)
        bytes += [UInt8](repeating: 0, count: 10) + body
    }

    mutating func link(
        _ index: UInt32, _ name: String, kind: String = "", data: [UInt8] = [], flags: UInt32 = 0
    ) {
        let info = Self.attribute(1, Array(kind.utf8) + [0]) + Self.attribute(0x8002, data)
        add(
            16,
            [0, 0, 0, 0] + Self.little(index, 4) + Self.little(flags, 4) + [0, 0, 0, 0]
                + Self.attribute(3, Array(name.utf8) + [0])
                + (kind.isEmpty ? [] : Self.attribute(18, info)))
    }
}

@Suite struct LinksTests {
    private var answer: Answer {
        var answer = Answer()
        answer.link(1, "lo", flags: 0x9)
        answer.link(
            2, "vx0", kind: "vxlan",
            data: Answer.attribute(1, [7, 0, 0, 0]) + Answer.attribute(15, [0x21, 0x18]))
        answer.link(3, "gn0", kind: "geneve", data: Answer.attribute(5, [0x17, 0xc1]))
        answer.link(4, "wg0", kind: "wireguard")
        answer.link(70_000, "blue", kind: "vrf", data: Answer.attribute(1, [10, 0, 0, 0]))
        return answer
    }

    @Test func `names, kinds and ports of tunnels are read`() {
        var links: [NetworkLink] = []
        #expect(LinkMessage.read(answer.bytes, count: answer.bytes.count, into: &links) == false)
        #expect(links.map(\.name) == ["lo", "vx0", "gn0", "wg0", "blue"])
        #expect(links.map(\.port) == [nil, 8_472, 6_081, nil, nil])
        #expect(links.map(\.isLoopback) == [true, false, false, false, false])
        #expect(links[4].index == 70_000 && links[3].kind == "wireguard")
        var end = answer
        end.add(3, [0, 0, 0, 0])
        var more: [NetworkLink] = []
        #expect(LinkMessage.read(end.bytes, count: end.bytes.count, into: &more) == true)
        #expect(more == links)
    }

    @Test func `an answer that is cut, or of another form, traps nowhere`() {
        let bytes = answer.bytes
        for count in 0..<bytes.count {
            var links: [NetworkLink] = []
            _ = LinkMessage.read(Array(bytes[..<count]), count: bytes.count, into: &links)
            #expect(links.count < 5)
        }
        var generator = SeededGenerator()
        for _ in 0..<20_000 {
            var broken = bytes
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                broken[Int.random(in: 0..<broken.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            var links: [NetworkLink] = []
            _ = LinkMessage.read(broken, count: broken.count, into: &links)
            #expect(links.count <= bytes.count / 32, "seed \(generator.seed)")
        }
    }

    @Test func `the loopback device of this machine is found`() throws {
        let links = try #require(Links())
        #expect(links.all(at: .init(milliseconds: 1)).contains { $0.name == "lo" && $0.isLoopback })
    }
}
