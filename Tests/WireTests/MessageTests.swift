import TestSupport
import Testing
import TwinportModel
import Wire

private func payload(_ write: (inout ByteWriter) -> Void) -> [UInt8] {
    var writer = ByteWriter()
    write(&writer)
    return Array(writer.bytes.dropFirst(FrameHeader.size))
}

private let hello = Hello(
    role: .guest, instance: 0x0102_0304_0506_0708, epoch: 3, os: "Linux", kernel: "6.1",
    hostname: "vm", program: "0.1.0")

private let listener = ListenerMessage(
    id: ListenerID(rawValue: 9), kind: 1, isV6Only: true, endpoint: Endpoint(.anyV6, 8080),
    uid: 1000, owner: "12/nginx", container: "c0ffee/web")

private let mirror = MirrorMessage(
    id: ListenerID(rawValue: 9), state: .conflict, reason: "77/sshd holds 0.0.0.0:22",
    addresses: [Endpoint(.loopbackV4, 22), Endpoint(.loopbackV6, 22)])

private let open = OpenMessage(
    listener: ListenerID(rawValue: 0xffff_ffff), transport: .udp, window: 262_144,
    client: Endpoint(.v4(IPv4Address(192, 0, 2, 1)), 50_000), dialled: Endpoint(.loopbackV6, 53))

@Suite struct MessageTests {
    @Test func `golden bytes of docs-protocol: HELLO`() {
        var writer = ByteWriter()
        hello.write(to: &writer)
        let golden: [UInt8] =
            [0x01, 0x44, 0, 0, 0, 0, 0, 0] + Array("TWINPORT".utf8)
            + [1, 0, 1, 0, 2, 0, 0, 0, 0, 31, 57, 1, 0] + [0xff, 0xff, 0, 0, 0, 0x20, 0, 0]
            + [0, 0x80, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0]
            + [5] + Array("Linux".utf8) + [3] + Array("6.1".utf8) + [2] + Array("vm".utf8)
            + [5] + Array("0.1.0".utf8)
        #expect(writer.bytes == golden)
    }

    @Test func `golden bytes of docs-protocol: LISTENER and OPEN`() {
        var writer = ByteWriter()
        listener.write(to: &writer)
        #expect(
            writer.bytes
                == [0x02, 49, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 6, 0x90, 0x1f]
                + Array(repeating: 0, count: 16) + [0xe8, 3, 0, 0, 8] + Array("12/nginx".utf8) + [
                    10
                ]
                + Array("c0ffee/web".utf8))
        writer.clear()
        open.write(
            to: &writer, stream: StreamID(slot: 1, generation: 1, isGuestOpened: false))
        let head: [UInt8] = [0x10, 47, 0, 0, 2, 0, 2, 0, 0xff, 0xff, 0xff, 0xff, 17, 0, 0, 4, 0]
        let client: [UInt8] = [4, 0x50, 0xc3, 192, 0, 2, 1] + Array(repeating: 0, count: 12)
        let dialled: [UInt8] = [6, 53, 0] + Array(repeating: 0, count: 15) + [1]
        #expect(writer.bytes == head + client + dialled)
    }

    @Test func `golden bytes of docs-protocol: MOVED, KEEPALIVE and URGENT`() throws {
        let stream = StreamID(slot: 1, generation: 1, isGuestOpened: false)
        var writer = ByteWriter()
        Frames.writeMoved(stream, port: 0x1234, to: &writer)
        #expect(writer.bytes == [0x80, 2, 0, 0, 2, 0, 2, 0, 0x34, 0x12])
        #expect(try Frames.moved(writer.bytes.span, 8..<10) == 0x1234)
        #expect(throws: WireError.self) { try Frames.moved(writer.bytes.span, 8..<9) }
        writer.clear()
        Frames.writeKeepAlive(stream, seconds: 7_200, to: &writer)
        #expect(writer.bytes == [0x81, 2, 0, 0, 2, 0, 2, 0, 0x20, 0x1c])
        #expect(try Frames.keepAlive(writer.bytes.span, 8..<10) == 7_200)
        let urgent = FrameHeader(.urgent, length: 1, stream: stream.rawValue)
        #expect(urgent.packed == 0x0002_0002_0000_0182)
    }

    @Test func `messages survive a round trip`() throws {
        let bytes = payload { hello.write(to: &$0) }
        #expect(try Hello(bytes.span, 0..<bytes.count) == hello)
        var placed = hello
        placed.network = 0x0102_0304_0506_0708
        let known = payload { placed.write(to: &$0) }
        #expect(try Hello(known.span, 0..<known.count) == placed && known.count == bytes.count + 8)
        placed.clients = "guest, not real: no"
        let told = payload { placed.write(to: &$0) }
        #expect(try Hello(told.span, 0..<told.count) == placed)
        #expect(told.count == known.count + 1 + 20, "no hints, which are before it")
        for tail in 1..<8 {
            #expect(throws: WireError.self) {
                try Hello(known.span, 0..<known.count - tail)
            }
        }
        let second = payload { listener.write(to: &$0) }
        #expect(try ListenerMessage(.listener, second.span, 0..<second.count) == listener)
        let sixth = payload { odd.write(to: &$0) }
        #expect(try ListenerMessage(.oddSocket, sixth.span, 0..<sixth.count) == odd)
        let third = payload { mirror.write(to: &$0) }
        #expect(try MirrorMessage(third.span, 0..<third.count) == mirror)
        let fourth = payload {
            open.write(to: &$0, stream: StreamID(slot: 1, generation: 0, isGuestOpened: true))
        }
        #expect(try OpenMessage(fourth.span, 0..<fourth.count) == open)
        for policy in [PolicyMessage(), strictPolicy] {
            let fifth = payload { policy.write(to: &$0) }
            #expect(try PolicyMessage(fifth.span, 0..<fifth.count) == policy)
        }
    }

    @Test func `a POLICY of an older host, and one of a newer host, ask for real addresses`() throws
    {
        let bytes = payload { strictPolicy.write(to: &$0) }
        let older = Array(bytes.dropLast())
        #expect(try PolicyMessage(older.span, 0..<older.count).clientAddress == .real)
        let newer = older + [9, 1, 2, 3]
        #expect(try PolicyMessage(newer.span, 0..<newer.count).clientAddress == .real)
    }

    @Test func `a published port tells its rule, and a guest that sees none says so`() throws {
        for base in [listener, odd] {
            var published = base
            published.published = "ip nat DOCKER handle 7: dnat to 172.17.0.2:80"
            let type: FrameType = base.obstacle.isEmpty ? .listener : .oddSocket
            let bytes = payload { published.write(to: &$0) }
            #expect(try ListenerMessage(type, bytes.span, 0..<bytes.count) == published)
            for count in 0..<bytes.count {
                #expect(throws: WireError.self) {
                    try ListenerMessage(type, bytes.span, 0..<count)
                }
            }
        }
        var blind = hello
        blind.blindness = "none: needs CAP_NET_ADMIN"
        let bytes = payload { blind.write(to: &$0) }
        #expect(try Hello(bytes.span, 0..<bytes.count) == blind)
    }

    private var odd: ListenerMessage {
        var odd = listener
        odd.sharesPort = true
        odd.obstacle = "kernel-socket of vxlan0"
        return odd
    }

    @Test func `a socket that no mirror can stand for is told in a frame that old peers skip`() {
        var writer = ByteWriter()
        odd.write(to: &writer)
        #expect(writer.bytes[0] == 0x84)
        var free = odd
        free.obstacle = ""
        var other = ByteWriter()
        free.write(to: &other)
        // In LISTENER, what is new is a flag that 0.1.0 does not read.
        #expect(other.bytes[0] == 0x02 && other.bytes[8 + 5] == 5)
    }

    private var strictPolicy: PolicyMessage {
        var policy = PolicyMessage()
        policy.udpEphemeralAfter = nil
        policy.scanInterval = 50
        policy.usesHints = false
        policy.clientAddress = .loopback
        return policy
    }

    @Test func `every truncated payload is refused, and so is one with bytes after it`() throws {
        let samples: [(String, [UInt8], ([UInt8]) throws -> Void)] = [
            ("hello", payload { hello.write(to: &$0) }, { _ = try Hello($0.span, 0..<$0.count) }),
            (
                "listener", payload { listener.write(to: &$0) },
                { _ = try ListenerMessage(.listener, $0.span, 0..<$0.count) }
            ),
            (
                "odd socket", payload { odd.write(to: &$0) },
                { _ = try ListenerMessage(.oddSocket, $0.span, 0..<$0.count) }
            ),
            (
                "mirror", payload { mirror.write(to: &$0) },
                { _ = try MirrorMessage($0.span, 0..<$0.count) }
            ),
            (
                "open",
                payload {
                    open.write(
                        to: &$0, stream: StreamID(slot: 1, generation: 0, isGuestOpened: true))
                }, { _ = try OpenMessage($0.span, 0..<$0.count) }
            ),
        ]
        for (name, bytes, read) in samples {
            for count in 0..<bytes.count {
                #expect(throws: WireError.self, "\(name) cut to \(count)") {
                    try read(Array(bytes[..<count]))
                }
            }
            // HELLO may grow in later versions; the others end where they end.
            guard name != "hello" else { continue }
            #expect(throws: WireError.self, "\(name) with a tail") { try read(bytes + [0]) }
        }
    }

    @Test func `texts from the peer carry no control characters`() throws {
        var evil = listener
        evil.owner = "1/\u{1b}[2J\n\u{202e}x"
        let bytes = payload { evil.write(to: &$0) }
        #expect(try ListenerMessage(.listener, bytes.span, 0..<bytes.count).owner == "1/?[2J??x")
    }

    @Test func `a long text is cut at a character`() throws {
        var long = listener
        long.owner = String(repeating: "é", count: 200)
        let bytes = payload { long.write(to: &$0) }
        let owner = try ListenerMessage(.listener, bytes.span, 0..<bytes.count).owner
        #expect(owner.utf8.count == 254 && owner.allSatisfy { $0 == "é" })
    }

    @Test func `random payloads never trap`() {
        var generator = SeededGenerator()
        for _ in 0..<20_000 {
            let bytes = generator.bytes(.random(in: 0...120, using: &generator))
            let all = 0..<bytes.count
            _ = try? Hello(bytes.span, all)
            _ = try? ListenerMessage(.listener, bytes.span, all)
            _ = try? ListenerMessage(.oddSocket, bytes.span, all)
            _ = try? MirrorMessage(bytes.span, all)
            _ = try? OpenMessage(bytes.span, all)
            _ = try? PolicyMessage(bytes.span, all)
            _ = try? Frames.goAway(bytes.span, all)
        }
    }

    @Test func `stream numbers keep slot, generation and opener apart`() {
        for slot in [1, 2, 0x7fff, 0xffff] {
            for generation in [UInt16(0), 1, 0x7fff] {
                for isGuest in [true, false] {
                    let id = StreamID(slot: slot, generation: generation, isGuestOpened: isGuest)
                    #expect(id.slot == slot && id.generation == generation)
                    #expect(id.isGuestOpened == isGuest)
                    #expect(StreamID(rawValue: id.rawValue) == id)
                }
            }
        }
        #expect(StreamID(rawValue: 0) == nil && StreamID(rawValue: 1) == nil)
        #expect(StreamID(rawValue: 1 << 17) == nil)
    }

    @Test func `versions meet where their ranges overlap`() {
        let old = VersionRange(min: 1, max: 2)
        #expect(old.common(with: VersionRange(min: 2, max: 5)) == 2)
        #expect(old.common(with: VersionRange(min: 3, max: 5)) == nil)
        #expect(old.common(with: VersionRange(min: 9, max: 0)) == nil)
    }
}
