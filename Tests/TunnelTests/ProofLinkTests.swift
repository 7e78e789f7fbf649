import Noise
import TestSupport
import Testing
import Wire

@testable import Tunnel

/// What one end of a tunnel has.
private enum Holding: String, CaseIterable, CustomStringConvertible {
    case key
    case otherKey = "another key"
    case nothing

    var description: String { rawValue }
}

private let key = TunnelKey.random()
private let otherKey = TunnelKey.random()

private func wrap(_ link: MemoryLink, _ holding: Holding, _ part: NoiseLink.Part) -> any Link {
    switch holding {
    case .key: ProofLink(link, key: key, part: part)
    case .otherKey: ProofLink(link, key: otherKey, part: part)
    case .nothing: link
    }
}

/// Sessions over a proof over memory: the host waits, the guest dials.
private func pair(host: Holding = .key, guest: Holding = .key) -> Pair {
    Pair(host: { wrap($0, host, .responder) }, guest: { wrap($0, guest, .initiator) })
}

@Suite struct ProofLinkTests {
    @Test(arguments: [1, 7, 49, 65_537, Int.max])
    func `a session runs behind the proof, in pieces of any size`(step: Int) throws {
        var generator = SeededGenerator()
        let pair = pair()
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

    @Test func `after the proof the bytes are the frames, and none more`() {
        let plain = Pair()
        let proven = pair()
        for pair in [plain, proven] {
            pair.host.link.record = []
            pair.guest.link.record = []
            pair.host.session.start()
            pair.guest.session.start()
            pair.settle()
            pair.guest.session.probe()
            pair.settle()
        }
        let first = 2 + HandshakeState.messageLength
        #expect(proven.host.link.record?.dropFirst(first) == plain.host.link.record?[...])
        #expect(proven.guest.link.record?.dropFirst(first + 18) == plain.guest.link.record?[...])
    }

    @Test(arguments: Holding.allCases, Holding.allCases)
    private func `two ends with one key, or two without any, meet; others say what is missing`(
        host: Holding, guest: Holding
    ) {
        let pair = pair(host: host, guest: guest)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        guard host != guest else {
            #expect(pair.host.greeted != nil && pair.guest.greeted != nil)
            return
        }
        #expect(pair.host.greeted == nil || host == .nothing)
        #expect(pair.guest.greeted == nil || guest == .nothing)
        let lacks = host == .nothing || guest == .nothing
        for end in [pair.host!, pair.guest!] {
            let reason = end.end?.reason ?? ""
            #expect(reason.contains(lacks ? "key" : "same key"), "\(end.role): \(reason)")
            #expect(!lacks || reason.contains("both need the same one"), "\(end.role): \(reason)")
            #expect(end.end?.code == .notAllowed)
        }
    }

    @Test func `a stranger learns nothing but that a key is missing`() throws {
        let pair = pair()
        pair.host.session.start()
        pair.host.link.record = []
        pair.host.link.incoming = [0x01, 0x44, 0, 0, 0, 0, 0, 0]
        pair.host.session.linkReadable()
        let said = pair.host.link.record ?? []
        #expect(said.first == FrameType.goAway.rawValue)
        #expect(!String(decoding: said, as: UTF8.self).contains("TWINPORT"))
    }

    @Test func `a program that is older than the proof gets a GOAWAY that it can read`() throws {
        let pair = pair(host: .key, guest: .nothing)
        pair.host.session.start()
        pair.guest.session.start()
        pair.settle()
        #expect(pair.guest.end?.isByPeer == true)
        #expect(pair.guest.end?.reason.contains("this side asks for a key") == true)
    }

    @Test func `a first message that is sent again gets no session`() {
        let real = pair()
        real.guest.link.record = []
        real.host.session.start()
        real.guest.session.start()
        real.settle()
        #expect(real.host.greeted != nil)
        let recorded = real.guest.link.record ?? []
        let again = pair()
        again.host.session.start()
        again.host.link.incoming = recorded
        again.host.session.linkReadable()
        #expect(again.host.greeted == nil && again.host.end?.code == .notAllowed)
    }

    @Test func `garbage, records of other lengths and changed bytes end the session`() {
        let wrong = [0, 48] + [UInt8](repeating: 9, count: 48)
        for bytes in [[0, 0], [0, 49], [1, 48], [7], wrong] {
            let pair = pair()
            pair.host.session.start()
            pair.host.link.incoming = bytes + [UInt8](repeating: 7, count: 70_000)
            pair.host.session.linkReadable()
            #expect(pair.host.end?.code == .notAllowed && pair.host.greeted == nil, "\(bytes)")
        }
        for index in 0..<2 + HandshakeState.messageLength {
            let pair = pair()
            pair.host.session.start()
            pair.guest.session.start()
            pair.guest.link.outgoing[index] ^= 1
            pair.settle()
            #expect(pair.host.greeted == nil && pair.guest.greeted == nil, "byte \(index)")
        }
    }

    @Test func `a silent peer is dropped after five seconds`() {
        let pair = pair()
        pair.host.session.start()
        for _ in 0..<5 {
            #expect(pair.host.end == nil)
            pair.now += 1_000
            pair.host.session.tick()
        }
        #expect(pair.host.end?.code == .timeout)
    }

    @Test func `a first message that was read before the session began counts`() throws {
        var dialler = HandshakeState(key: key, prologue: ProofLink.prologue)
        let first = [0, 48] + (try dialler.writeFirst())
        let pair = Pair(host: { ProofLink($0, key: key, part: .responder, early: first) })
        pair.host.session.start()
        let answer = pair.host.link.outgoing
        #expect(answer.count == first.count)
        var keys = try dialler.readSecond(answer.dropFirst(2))
        pair.host.link.outgoing = []
        pair.host.link.incoming = [0, 16] + (try keys.send.encrypt([]))
        pair.host.session.linkReadable()
        #expect(pair.host.end == nil)
        pair.host.session.pump()
        #expect(pair.host.link.outgoing.first == FrameType.hello.rawValue)
    }
}
