import Noise
import Testing
import TwinportModel

@testable import Tunnel

@Suite struct SessionOwnerTests {
    private func owner(
        _ key: TunnelKey? = nil, _ instance: UInt64 = 1, _ origin: SessionOwner.Origin? = .user(0)
    ) -> SessionOwner {
        SessionOwner(key: key, instance: instance, origin: origin)
    }

    @Test func `the owner is who proves the key`() {
        let key = TunnelKey.random()
        #expect(owner(key, 1).isSame(as: owner(key, 2, .machine(3))))
        #expect(!owner(key, 1).isSame(as: owner(.random(), 1)))
        #expect(!owner(key, 1).isSame(as: owner(nil, 1)))
        #expect(!owner(nil, 1).isSame(as: owner(key, 1)))
    }

    @Test func `without a key it is the same run of a program at the same place`() {
        #expect(owner(nil, 1).isSame(as: owner(nil, 1)))
        #expect(!owner(nil, 1).isSame(as: owner(nil, 2)))
        #expect(!owner(nil, 1, .user(0)).isSame(as: owner(nil, 1, .user(7))))
        #expect(!owner(nil, 1, .machine(3)).isSame(as: owner(nil, 1, .machine(4))))
    }

    @Test func `a stranger may not wait for a live session's place, what is adopted may`() {
        var election = Election()
        #expect(election.mayWait(owner()))
        let pair = Pair()
        election.elect(pair.host.session, of: owner(nil, 1), now: 0)
        #expect(election.mayWait(owner(nil, 1)))
        #expect(!election.mayWait(owner(nil, 2)))
        #expect(election.mayWait(owner(nil, 2, .embedder)))
        _ = election.vacate(now: 1)
        #expect(election.mayWait(owner(nil, 2)))
    }
}

@Suite struct LobbyTests {
    private let near = IPAddress.loopbackV4
    private let far = IPAddress.anyV4

    @Test func `the address with most seats gives up its oldest`() {
        #expect(Lobby.leastEntitled([]) == nil)
        #expect(Lobby.leastEntitled([far, near, near]) == 1)
        #expect(Lobby.leastEntitled([near, far, near, far]) == 0)
        #expect(Lobby.leastEntitled([nil, nil]) == 0)
    }

    @Test func `a first message counts once, and the last 256 are remembered`() {
        var seen = RecentMessages()
        func message(_ number: Int) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255)] }
        for number in 0..<1_000 {
            let oldest = max(0, number - RecentMessages.remembered + 1)
            let verdicts = [number, number, oldest].map { seen.isNew(message($0)) }
            #expect(verdicts == [true, false, false])
        }
        let isForgotten = seen.isNew(message(0))
        #expect(isForgotten)
    }

    @Test func `a record of a handshake is told from frames at the first byte that differs`() {
        let length = 50
        func first(_ bytes: [UInt8]) -> FirstBytes { FirstBytes(bytes.span, length: length) }
        let record = [0, 48] + [UInt8](repeating: 3, count: 48)
        for count in 0..<length {
            #expect(first(Array(record.prefix(count))) == .incomplete)
        }
        #expect(first(record) == .record(record))
        for frames in [[1], [0x22], [0, 0x16], [0, 49], [0x16, 3, 1]] as [[UInt8]] {
            #expect(first(frames) == .frames)
        }
    }
}
