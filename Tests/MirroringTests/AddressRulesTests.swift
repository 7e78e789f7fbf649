import Listeners
import Sockets
import TestSupport
import Testing
import TwinportModel

@testable import Mirroring

private func key(_ endpoint: String, v6Only: Bool = false, _ kind: SocketKind = .tcp) -> ListenerKey
{
    ListenerKey(kind: kind, endpoint: Endpoint(endpoint)!, isV6Only: v6Only)
}

private func plan(_ key: ListenerKey, _ bind: WildcardBind, hasIPv6: Bool = true) -> String {
    switch AddressRules.plan(for: key, bind: bind, hasIPv6: hasIPv6) {
    case .unsupported(let why): why.text
    case .sockets(let sockets):
        sockets.map {
            $0.endpoint.description
                + ($0.isV6Only && $0.endpoint.address == .anyV6 ? " v6only" : "")
        }
        .joined(separator: ", ")
    }
}

@Suite struct AddressRulesTests {
    @Test(arguments: [
        ("0.0.0.0:80", false, "0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", false, "[::]:80", "127.0.0.1:80, [::1]:80"),
        ("[::]:80", true, "[::]:80 v6only", "[::1]:80"),
        ("127.0.0.1:80", false, "127.0.0.1:80", "127.0.0.1:80"),
        ("127.9.8.7:80", false, "127.9.8.7:80", "127.9.8.7:80"),
        ("[::1]:80", false, "[::1]:80", "[::1]:80"),
        ("[::ffff:127.0.0.1]:80", false, "127.0.0.1:80", "127.0.0.1:80"),
        ("192.168.1.5:80", false, "interface-address", "interface-address"),
        ("[fe80::1]:80", false, "interface-address", "interface-address"),
        ("239.255.255.250:1900", false, "multicast-address", "multicast-address"),
    ]) func `the address table`(listener: String, v6Only: Bool, same: String, loopback: String) {
        #expect(plan(key(listener, v6Only: v6Only), .same) == same)
        #expect(plan(key(listener, v6Only: v6Only), .loopback) == loopback)
    }

    @Test func `without IPv6 a dual-stack listener is mirrored on IPv4`() {
        #expect(plan(key("[::]:80"), .same, hasIPv6: false) == "0.0.0.0:80")
        #expect(plan(key("[::]:80"), .loopback, hasIPv6: false) == "127.0.0.1:80")
    }

    @Test func `what layer 4 cannot carry is named`() {
        #expect(plan(key("0.0.0.0:1", .raw), .same) == "raw")
        #expect(plan(key("0.0.0.0:1", .sctp), .same) == "sctp")
    }

    @Test func `wildcards are dialled on the loopback of the client's family`() {
        #expect(
            AddressRules.targets(for: key("0.0.0.0:80"), clientIsIPv6: true).map(\.description) == [
                "127.0.0.1:80"
            ])
        #expect(
            AddressRules.targets(for: key("[::]:80"), clientIsIPv6: true).map(\.description) == [
                "[::1]:80", "127.0.0.1:80",
            ])
        #expect(
            AddressRules.targets(for: key("[::]:80"), clientIsIPv6: false).first?.description
                == "127.0.0.1:80")
        #expect(
            AddressRules.targets(for: key("[::]:80", v6Only: true), clientIsIPv6: false).map(
                \.description) == ["[::1]:80"])
        #expect(
            AddressRules.targets(for: key("127.0.0.2:80"), clientIsIPv6: true).map(\.description)
                == ["127.0.0.2:80"])
    }

    @Test func `no listener at all is ever planned or dialled off loopback in the guest`() {
        var generator = SeededGenerator()
        for _ in 0..<5_000 {
            let v6 = IPAddress.v6(
                IPv6Address(
                    high: .random(in: 0...(.max), using: &generator),
                    low: .random(in: 0...(.max), using: &generator)))
            let v4 = IPAddress.v4(IPv4Address(bits: .random(in: 0...(.max), using: &generator)))
            for address in [v4, v6, .anyV4, .anyV6] {
                let key = ListenerKey(kind: .tcp, endpoint: Endpoint(address, 80), isV6Only: false)
                if case .sockets(let sockets) = AddressRules.plan(
                    for: key, bind: .loopback, hasIPv6: true)
                {
                    #expect(sockets.allSatisfy { $0.endpoint.address.isLoopback })
                    let targets = [true, false].flatMap {
                        AddressRules.targets(for: key, clientIsIPv6: $0)
                    }
                    #expect(!targets.isEmpty && targets.allSatisfy(\.address.isLoopback))
                }
            }
        }
    }

    @Test func `covering`() {
        func socket(_ endpoint: String, _ v6Only: Bool = false) -> PlannedSocket {
            PlannedSocket(endpoint: Endpoint(endpoint)!, isV6Only: v6Only)
        }
        #expect(socket("0.0.0.0:80").covers(socket("127.0.0.2:80")))
        #expect(!socket("0.0.0.0:80").covers(socket("127.0.0.2:81")))
        #expect(!socket("0.0.0.0:80").covers(socket("[::1]:80", true)))
        #expect(socket("[::]:80").covers(socket("127.0.0.2:80")))
        #expect(socket("[::]:80").covers(socket("0.0.0.0:80")))
        #expect(!socket("[::]:80", true).covers(socket("127.0.0.2:80")))
        #expect(socket("[::]:80", true).covers(socket("[::1]:80", true)))
        #expect(!socket("127.0.0.1:80").covers(socket("0.0.0.0:80")))
    }
}

@Suite struct QueueTests {
    private func bytes(_ count: Int, _ value: UInt8 = 1) -> [UInt8] {
        [UInt8](repeating: value, count: count)
    }

    @Test func `a datagram queue drops the oldest, by count and by bytes`() {
        var queue = DatagramQueue(DatagramBudget())
        for index in 0..<64 { #expect(queue.push(bytes(1, UInt8(index)).span) == 0) }
        #expect(queue.push(bytes(1).span) == 1)
        var big = DatagramQueue(DatagramBudget())
        for _ in 0..<4 { #expect(big.push(bytes(65_507).span) == 0) }
        #expect(big.push(bytes(65_507).span) == 1)
    }

    @Test func `a turn takes what a queue holds, whatever the size of the datagrams`() {
        var turn = DatagramTurn()
        var generator = SeededGenerator()
        for size in [64, 1_400, 8_000, 65_507, 0, 65_507, 1] {
            for round in 0..<3 {
                var count = 0
                turn.begin()
                while let limit = turn.next {
                    #expect((1...32).contains(limit))
                    count += limit
                    turn.took(limit, bytes: limit * size)
                }
                #expect(count <= DatagramQueue.maxCount && count >= 1)
                // The first turn does not know the size yet.
                if round > 0 { #expect(count * size <= DatagramQueue.maxBytes) }
                if round > 1 {
                    #expect(count == min(64, size == 0 ? 64 : DatagramQueue.maxBytes / size))
                }
            }
        }
        turn.begin()
        let limit = turn.next ?? 0
        turn.took(Int.random(in: 0..<limit, using: &generator), bytes: 100)
        #expect(turn.next == nil)
    }

    @Test func `a turn asks for fewer packets once they hold many datagrams`() {
        var turn = DatagramTurn()
        turn.begin()
        // As many packets as a queue has room for, should each bring 64.
        #expect(turn.next == 8)
        turn.took(184, bytes: 184 * 1_400, packets: 4)
        #expect(turn.perPacket == 46 && turn.next == nil)
        turn.begin()
        #expect(turn.next == 2)
        // Single ones between them change little at first.
        turn.took(2, bytes: 200, packets: 2)
        #expect(turn.perPacket == 23)
        for _ in 0..<6 {
            turn.begin()
            turn.took(1, bytes: 100)
        }
        turn.begin()
        #expect(turn.perPacket == 1 && turn.next == 8)
    }

    @Test func `a flood of single datagrams is soon taken with as few calls as there can be`() {
        var turn = DatagramTurn()
        var asked: [Int] = []
        for _ in 0..<3 {
            turn.begin()
            while let limit = turn.next {
                asked.append(limit)
                turn.took(limit, bytes: limit * 100)
            }
            // A pause in it changes nothing.
            turn.begin()
            turn.took(1, bytes: 100)
        }
        #expect(asked == [8, 16, 32, 8, 32, 32, 32, 32])
    }

    @Test func `while a queue is not full a turn asks for something, whatever came before`() {
        var generator = SeededGenerator()
        var turn = DatagramTurn()
        for _ in 0..<20_000 {
            var queue = DatagramQueue(DatagramBudget())
            let size = [0, 1, 1_400, 65_527].randomElement(using: &generator)!
            for _ in 0..<Int.random(in: 0..<3, using: &generator) {
                _ = queue.push(bytes(size).span)
            }
            turn.begin(after: queue.load)
            let next = turn.next ?? 0
            #expect(queue.isFull || (1...32).contains(next), "seed \(generator.seed)")
            let packets = Int.random(in: 0...max(next, 1), using: &generator)
            let each = Int.random(in: 1...64, using: &generator)
            let most = 65_527 / each
            turn.took(
                packets * each, bytes: packets * each * Int.random(in: 0...most, using: &generator),
                packets: packets)
        }
    }

    @Test func `a queue holds more of what comes in packets, and not without end`() {
        let budget = DatagramBudget()
        for (size, most) in [(100, 512), (1_400, 374), (0, 512)] {
            var queue = DatagramQueue(budget)
            var dropped = 0
            for _ in 0..<600 { dropped += queue.push(bytes(size).span, inPackets: true) }
            #expect(queue.load.count == most && dropped == 600 - most)
            #expect(queue.isFull)
            // One that came alone makes room for itself only.
            #expect(queue.push(bytes(size).span) == 1)
            queue.removeAll()
        }
        #expect(budget.bytes == 0 && budget.blockBytes == 0)
    }

    @Test func `a queue that has drained to the bound of single datagrams keeps to it`() {
        var queue = DatagramQueue(DatagramBudget())
        let buffer = IOBuffer(capacity: 1_000)
        for _ in 0..<100 { #expect(queue.push(bytes(1).span, inPackets: true) == 0) }
        for _ in 0..<36 { #expect(queue.pop(into: buffer, limit: 1) == 1) }
        #expect(queue.push(bytes(1).span) == 1)
        #expect(queue.load.count == 64)
    }

    @Test func `a full queue is moved within its memory for many datagrams at once`() {
        for (size, inPackets) in [(1_400, true), (100, true), (4_000, false), (1_400, false)] {
            var queue = DatagramQueue(DatagramBudget())
            for _ in 0..<1_000 { _ = queue.push(bytes(size).span, inPackets: inPackets) }
            var changes = 0
            for _ in 0..<2_000 {
                let before = queue.capacity
                #expect(queue.push(bytes(size).span, inPackets: inPackets) == 1)
                if queue.capacity != before { changes += 1 }
            }
            #expect(changes <= 1, "\(size)")
        }
    }

    @Test func `memory that nearly empty queues keep is bounded, however they came to it`() {
        let budget = DatagramBudget()
        let buffer = IOBuffer(capacity: 1 << 20)
        var queues: [DatagramQueue] = []
        for _ in 0..<500 {
            var queue = DatagramQueue(budget)
            for _ in 0..<64 { _ = queue.push(bytes(4_096).span) }
            for _ in 0..<32 { _ = queue.pop(into: buffer, limit: 4_096) }
            for _ in 0..<32 { #expect(queue.push(bytes(0).span) == 0) }
            for _ in 0..<32 { #expect(queue.pop(into: buffer, limit: 4_096) == 4_096) }
            buffer.clear()
            #expect(queue.load.count == 32 && queue.load.bytes == 0)
            queues.append(queue)
        }
        #expect(budget.bytes == 500 * 32 * DatagramQueue.overhead)
        let most = DatagramBudget.fewBlockBytes + (1 << 20)
        #expect(budget.blockBytes <= most)
        for index in queues.indices { queues[index].removeAll() }
        #expect(budget.blockBytes == 0 && budget.bytes == 0)

        // A flow that fills and ends leaves its large block to one that has a single byte.
        queues = []
        for _ in 0..<500 {
            var large = DatagramQueue(budget)
            for _ in 0..<64 { _ = large.push(bytes(4_096).span) }
            large.removeAll()
            var small = DatagramQueue(budget)
            #expect(small.push(bytes(1).span) == 0)
            queues.append(small)
        }
        #expect(budget.blockBytes <= most)
        for index in queues.indices { queues[index].removeAll() }
        #expect(budget.blockBytes == 0 && budget.bytes == 0)
    }

    @Test func `a turn takes no more than a queue has room for`() {
        for size in [1, 1_400, 8_000, 65_507] {
            var queue = DatagramQueue(DatagramBudget())
            var turn = DatagramTurn()
            let buffer = IOBuffer(capacity: 70_000)
            // The first turn does not know the size yet.
            turn.begin(after: queue.load)
            turn.took(1, bytes: size)
            for round in 0..<100 {
                turn.begin(after: queue.load)
                while let limit = turn.next {
                    for _ in 0..<limit { #expect(queue.push(bytes(size).span) == 0) }
                    turn.took(limit, bytes: limit * size)
                }
                #expect(queue.isFull)
                for _ in 0...(round % 3) where !queue.isEmpty {
                    buffer.clear()
                    _ = queue.pop(into: buffer, limit: 65_507)
                }
            }
        }
    }

    @Test func `a queue without room for what may come is full, so that nothing waits unread`() {
        // The largest datagram over IPv6 is larger than that over IPv4.
        for small in [1, 40, 55, 56, 100, 65_000] {
            var queue = DatagramQueue(DatagramBudget())
            var turn = DatagramTurn()
            for size in [small, 65_527, 65_527, 65_527] where !queue.isFull {
                turn.begin(after: queue.load)
                #expect((turn.next ?? 0) > 0)
                #expect(queue.push(bytes(size).span) == 0)
                turn.took(1, bytes: size)
            }
            turn.begin(after: queue.load)
            #expect(queue.isFull || (turn.next ?? 0) > 0, "\(small)")
        }
    }

    @Test func `pending bytes leave in order, in any pieces, and only the last urgent one alone`() {
        var generator = SeededGenerator()
        var pending = PendingBytes()
        var expected: [UInt8] = []
        var got: [UInt8] = []
        var urgentAt: Int?
        var urgentSeen = 0
        for _ in 0..<2_000 {
            let chunk = generator.bytes(.random(in: 0...300, using: &generator))
            pending.append(chunk.span)
            expected += chunk
            if Int.random(in: 0...3, using: &generator) == 0 {
                urgentAt = expected.count
                expected.append(7)
                pending.appendUrgent(7)
            }
            var budget = Int.random(in: 0...400, using: &generator)
            _ = pending.drain { span, isUrgent in
                let count = min(budget, span.count)
                guard count > 0 else { return nil }
                #expect(isUrgent == (got.count == urgentAt))
                let isShort = (urgentAt ?? 0) <= got.count || got.count + span.count <= urgentAt!
                #expect(isShort && (!isUrgent || span.count == 1))
                urgentSeen += isUrgent ? 1 : 0
                for index in 0..<count { got.append(span[index]) }
                budget -= count
                return count
            }
        }
        _ = pending.drain { span, _ in
            for index in span.indices { got.append(span[index]) }
            return span.count
        }
        #expect(got == expected && pending.isEmpty && urgentSeen > 100, "seed \(generator.seed)")
    }
}
