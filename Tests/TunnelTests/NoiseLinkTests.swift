import Noise
import Posix
import TestSupport
import Testing
import Wire

@testable import Tunnel

extension Features {
    /// Of a side without instructions for AES.
    fileprivate static let slow = Features.ours.union(.wantsOtherCipher)
}

/// Sessions over a cipher over memory: the host waits, the guest dials.
private func pair(_ host: TunnelKey, _ guest: TunnelKey) -> Pair {
    Pair(
        host: { NoiseLink($0, key: host, part: .responder) },
        guest: { NoiseLink($0, key: guest, part: .initiator) })
}

@Suite struct NoiseLinkTests {
    @Test(arguments: [1, 7, 65_537, Int.max])
    func `a session runs over the cipher, in pieces of any size`(step: Int) throws {
        var generator = SeededGenerator()
        let key = TunnelKey.random()
        let pair = pair(key, key)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle(step: step)
        #expect(pair.host.greeted?.role == .guest && pair.guest.greeted?.role == .host)
        let bulk = generator.bytes(step == 1 ? 3_000 : 400_000)
        let flow = ScriptedFlow()
        flow.toSend = bulk
        flow.endsAfterSending = true
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.settle(step: step)
        #expect(pair.host.accepted.first?.received == bulk)
        #expect(pair.host.accepted.first?.gotEnd == true)
    }

    @Test(arguments: [true, false])
    func `nothing of what is sent is readable on the way`(isEncrypted: Bool) throws {
        let key = TunnelKey.random()
        // Without the cipher the same looks find everything.
        let pair = isEncrypted ? pair(key, key) : Pair()
        for end in [pair.host!, pair.guest!] { end.link.record = [] }
        pair.start()
        let flow = ScriptedFlow()
        flow.toSend = Array(String(repeating: "secret", count: 100).utf8)
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.settle()
        #expect(pair.host.accepted.first?.received.count == 600)
        let seen = [pair.host!, pair.guest!].map {
            String(decoding: $0.link.record ?? [], as: UTF8.self)
        }
        for (end, word) in [(0, "TWINPORT"), (1, "TWINPORT"), (1, "secret")] {
            #expect(seen[end].contains(word) != isEncrypted, "\(end): \(word)")
            #expect(seen[end].utf8.count > 50)
        }
    }

    @Test func `without the same key no frame comes through, and the session ends`() {
        let pair = pair(.random(), .random())
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        #expect(pair.host.greeted == nil && pair.guest.greeted == nil)
        #expect(pair.host.end?.reason.contains("same key") == true)
        #expect(pair.host.link.isClosed)
    }

    @Test(arguments: [nil, SystemError("recv", 104)])
    func `who dials with another key is told of keys when the other end hangs up`(
        reset: SystemError?
    ) {
        let pair = pair(.random(), .random())
        pair.guest.session.start()
        pair.guest.link.isPeerClosed = reset == nil
        pair.guest.link.failure = reset.map { .system($0) }
        pair.guest.session.linkReadable()
        #expect(pair.guest.end?.reason.contains("do both ends have the same key?") == true)
        #expect(pair.guest.end?.isByPeer == false)
    }

    @Test func `an end after the keys were found to be the same is an end, and no word of keys`() {
        let key = TunnelKey.random()
        let pair = pair(key, key)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        pair.guest.link.isPeerClosed = true
        pair.guest.session.linkReadable()
        #expect(pair.guest.end?.reason.contains("key") == false)
    }

    @Test func `a plaintext peer, a changed byte, an empty and a huge record end the session`() {
        for bytes in [Array("\u{1}TWINPORT........".utf8), [0, 0], [0xff, 0xff] + [1, 2, 3]] {
            let key = TunnelKey.random()
            let pair = pair(key, key)
            pair.host.session.start()
            pair.host.link.incoming = bytes + [UInt8](repeating: 7, count: 70_000)
            pair.host.session.linkReadable()
            #expect(pair.host.end != nil && pair.host.greeted == nil)
        }
        let key = TunnelKey.random()
        let pair = pair(key, key)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        pair.guest.session.probe()
        pair.guest.link.outgoing[10] ^= 1
        pair.settle()
        #expect(pair.host.end?.reason.contains("same key") == true)
    }

    @Test func `what came before a reset is heard, over the cipher too`() {
        let key = TunnelKey.random()
        let pair = pair(key, key)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        pair.guest.session.end(SessionEnd(.shutdown, "the guest shuts down"))
        pair.host.link.incoming += pair.guest.link.outgoing
        pair.host.link.failure = .system(SystemError("read", 104))
        pair.host.session.linkReadable()
        #expect(pair.host.end?.reason.contains("the guest shuts down") == true)
    }

    /// An old side does not say that it knows it.
    @Test(arguments: [(true, true), (true, false), (false, true)])
    func `a long session changes its keys if both sides can`(host: Bool, guest: Bool) throws {
        let key = TunnelKey.random()
        let pair = Pair(
            host: { NoiseLink($0, key: key, part: .responder, recordsPerKey: 4) },
            guest: { NoiseLink($0, key: key, part: .initiator, recordsPerKey: 4) },
            features: { ($0 == .host ? host : guest) ? .ours : [.moved] })
        pair.start()
        let flow = ScriptedFlow()
        flow.toSend = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let bulk = flow.toSend
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.settle()
        #expect(pair.host.end == nil && pair.guest.end == nil)
        #expect(pair.host.accepted.first?.received == bulk)
    }

    /// An old side neither understands nor wishes it.
    @Test(
        arguments: [
            (.ours, .ours, false), (.slow, .ours, true), (.ours, .slow, true),
            (.slow, .slow, true), (.slow, [.moved, .rekey], false),
            ([.moved, .rekey], .slow, false),
        ] as [(Features, Features, Bool)])
    func `the other cipher is used if one side wishes it and both can`(
        host: Features, guest: Features, isOther: Bool
    ) throws {
        let key = TunnelKey.random()
        let pair = Pair(
            host: { NoiseLink($0, key: key, part: .responder, recordsPerKey: 4) },
            guest: { NoiseLink($0, key: key, part: .initiator, recordsPerKey: 4) },
            features: { $0 == .host ? host : guest })
        for end in [pair.host!, pair.guest!] { end.link.record = [] }
        pair.start()
        let flow = ScriptedFlow()
        let bulk = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        flow.toSend = bulk
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.settle()
        #expect(pair.host.end == nil && pair.guest.end == nil)
        #expect(pair.host.accepted.first?.received == bulk)
        for end in [pair.host!, pair.guest!] {
            #expect(marks(in: end.link.record ?? []) == (isOther ? 1 : 0))
        }
    }

    /// How many empty records there are.
    private func marks(in bytes: [UInt8]) -> Int {
        var (at, count) = (0, 0)
        while at + 2 <= bytes.count {
            let length = Int(bytes[at]) << 8 | Int(bytes[at + 1])
            if length == 0 { count += 1 }
            at += 2 + length
        }
        return count
    }

    @Test func `a second change of the cipher ends the session, and so does one nobody made`() {
        for marks in 1...2 {
            let key = TunnelKey.random()
            let pair = Pair(
                host: { NoiseLink($0, key: key, part: .responder) },
                guest: { NoiseLink($0, key: key, part: .initiator) },
                features: { _ in marks == 1 ? .ours : .slow })
            pair.start()
            pair.guest.link.outgoing = [0, 0]
            pair.guest.session.probe()
            pair.settle()
            #expect(pair.host.end?.reason.contains("same key") == true)
        }
    }

    @Test func `one side that changes its keys alone is not understood`() throws {
        let key = TunnelKey.random()
        let pair = Pair(
            host: { NoiseLink($0, key: key, part: .responder, recordsPerKey: 4) },
            guest: { NoiseLink($0, key: key, part: .initiator, recordsPerKey: 8) })
        pair.start()
        let flow = ScriptedFlow()
        flow.toSend = [UInt8](repeating: 1, count: 300_000)
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.settle()
        #expect(pair.host.end?.reason.contains("same key") == true || pair.guest.end != nil)
    }

    @Test func `a silent peer is dropped after five seconds`() {
        let pair = pair(.random(), .random())
        pair.host.session.start()
        for _ in 0..<5 {
            #expect(pair.host.end == nil)
            pair.now += 1_000
            pair.host.session.tick()
        }
        #expect(pair.host.end?.code == .timeout)
    }

    @Test func `a link that takes little at a time loses nothing`() throws {
        var generator = SeededGenerator()
        let key = TunnelKey.random()
        let pair = pair(key, key)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        let bulk = generator.bytes(200_000)
        let flow = ScriptedFlow()
        flow.toSend = bulk
        _ = try #require(pair.guest.open(flow)).markReady()
        pair.guest.link.capacity = 0
        for _ in 0..<200_000 where pair.host.accepted.first?.received.count != bulk.count {
            pair.guest.link.capacity += 1_009
            pair.settle()
            #expect(pair.guest.link.wantsWritable || pair.guest.link.capacity > 0)
        }
        #expect(pair.host.accepted.first?.received == bulk)
    }
}
