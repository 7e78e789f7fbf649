import EventLoop
import Glibc
import Posix
import TestSupport
import Testing
import TwinportModel

@testable import Sockets

@Suite struct DatagramSenderTests {
    /// Some datagrams as a run in one buffer, with bytes between them that belong to none.
    private struct Text {
        var bytes: [UInt8] = []
        var run = DatagramRun()

        init(_ sizes: [Int]) {
            for (index, size) in sizes.enumerated() {
                bytes += [UInt8](repeating: 0xff, count: 8)
                run.append(bytes.count..<(bytes.count + size))
                bytes += (0..<size).map { UInt8(truncatingIfNeeded: index &* 31 &+ $0) }
            }
        }

        var datagrams: [[UInt8]] { (0..<run.count).map { Array(bytes[run[$0]]) } }
    }

    private static let sizes: [[Int]] = [
        [64, 64], Array(repeating: 1_400, count: 40) + [3], [0, 0, 5, 5, 0, 5], [8, 9, 9, 8, 8, 7],
        Array(repeating: 1, count: 64), Array(repeating: 20_000, count: 5), [65_507, 65_507],
        [32_500, 32_500, 1],
    ]

    private func received(_ socket: borrowing Socket, _ count: Int) throws -> [[UInt8]] {
        let batch = DatagramBatch()
        var datagrams: [[UInt8]] = []
        while datagrams.count < count {
            wait(socket.descriptor)
            guard let count = try batch.receive(from: socket) else { break }
            for index in 0..<count {
                datagrams.append(batch.withPayload(index) { [UInt8](copying: $0) })
            }
        }
        return datagrams
    }

    private func pass(
        _ text: Text, _ sender: DatagramSender, _ socket: borrowing Socket,
        _ way: DatagramWay?, _ limit: inout SegmentLimit
    ) throws -> Int {
        let (sent, error) = sender.send(
            text.run, of: text.bytes.span, through: socket, way, &limit)
        if let error { throw error }
        return sent
    }

    @Test(arguments: sizes, [true, false])
    func `a run arrives as the datagrams that it has, in their order`(
        sizes: [Int], segmenting: Bool
    ) throws {
        let text = Text(sizes)
        let sender = DatagramSender(segmenting: segmenting)
        for address in [IPAddress.loopbackV4, .loopbackV6]
        where !address.isIPv6 || Socket.isIPv6Supported {
            let server = try Socket.boundUDP(to: Endpoint(address, 0), isV6Only: true) { _ in }
            let here = try server.localEndpoint()
            var limit = SegmentLimit()
            let client = try Socket.dialUDP(here) { _ in }
            #expect(try pass(text, sender, client, nil, &limit) == sizes.count)
            #expect(try received(server, sizes.count) == text.datagrams)
            let other = try Socket.boundUDP(to: Endpoint(address, 0), isV6Only: true) { _ in }
            let way = DatagramWay(to: here, from: address)
            #expect(try pass(text, sender, other, way, &limit) == sizes.count)
            #expect(try received(server, sizes.count) == text.datagrams)
            #expect(limit.largest == 65_535)
        }
    }

    @Test func `datagrams of one size leave as segments of one packet`() throws {
        let server = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: true) { _ in }
        // UDP_GRO: packets stay whole.
        try server.setOption(17, 104, Int32(1))
        let client = try Socket.dialUDP(server.localEndpoint()) { _ in }
        var limit = SegmentLimit()
        let text = Text([100, 100, 100, 7, 200, 200])
        for (segmenting, lengths) in [(true, [307, 400]), (false, [100, 100, 100, 7, 200, 200])] {
            let sender = DatagramSender(segmenting: segmenting)
            #expect(try pass(text, sender, client, nil, &limit) == 6)
            for length in lengths { #expect(try server.hear()?.count == length) }
        }
    }

    @Test func `segments of one packet come apart, each with its sender and destination`() throws {
        let server = try Socket.boundUDP(to: Endpoint(.anyV4, 0), isV6Only: true) { _ in }
        server.takeSegments()
        let port = try server.localEndpoint().port
        let client = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: true) { _ in }
        let batch = DatagramBatch()
        var limit = SegmentLimit()
        var expected: [[UInt8]] = []
        let asked = (1...2).map { IPAddress.v4(IPv4Address(127, 0, 0, $0)) }
        for (address, sizes) in zip(asked, [[600, 600, 600, 9], [0, 7, 1, 1]]) {
            let text = Text(sizes)
            let way = DatagramWay(to: Endpoint(address, port), from: nil)
            #expect(try pass(text, DatagramSender(), client, way, &limit) == 4)
            expected += text.datagrams
        }
        wait(server.descriptor)
        #expect(try batch.receive(from: server) == 8)
        #expect(batch.packetCount == 4 && batch.excess == 0)
        #expect(batch.byteCount == 1_818)
        for index in 0..<8 {
            #expect(batch.withPayload(index) { [UInt8](copying: $0) } == expected[index])
            #expect(batch.destination(index) == asked[index / 4])
            #expect(try batch.sender(index) == client.localEndpoint())
        }
        #expect((0..<8).filter(batch.isFollower) == [1, 2, 3, 6])
    }

    @Test func `answers leave from the address that was asked, on a dual-stack socket, too`() throws
    {
        let asked = IPAddress.v4(IPv4Address(127, 0, 0, 9))
        for address in [IPAddress.anyV4, .anyV6]
        where !address.isIPv6 || Socket.isIPv6Supported {
            let server = try Socket.boundUDP(to: Endpoint(address, 0), isV6Only: false) { _ in }
            let client = try Socket.dialUDP(Endpoint(asked, server.localEndpoint().port)) { _ in }
            #expect(try client.sendDatagram([1].span) == true)
            let batch = DatagramBatch()
            wait(server.descriptor)
            #expect(try batch.receive(from: server) == 1)
            let peer = try #require(batch.sender(0))
            let way = DatagramWay(to: peer, from: batch.destination(0))
            let text = Text([9, 9, 9, 4])
            var limit = SegmentLimit()
            #expect(try pass(text, DatagramSender(), server, way, &limit) == 4)
            #expect(try received(client, 4) == text.datagrams)
        }
    }

    @Test func `a closed port is told, and the rest of the run is not sent`() throws {
        // Below the ephemeral ports: nobody gets it by chance.
        let client = try Socket.dialUDP(Endpoint(.loopbackV4, 17_390)) { _ in }
        var limit = SegmentLimit()
        let sender = DatagramSender()
        #expect(try pass(Text([3, 3]), sender, client, nil, &limit) == 2)
        wait(client.descriptor)
        let text = Text([3, 3])
        let outcome = sender.send(text.run, of: text.bytes.span, through: client, nil, &limit)
        #expect(outcome.sent == 0 && outcome.error?.code == ECONNREFUSED)
        #expect(limit.largest == 65_535)
    }

    @Test func `a source address that is not here says nothing of the size of segments`() throws {
        let server = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: true) { _ in }
        let socket = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: true) { _ in }
        let absent = IPAddress.v4(IPv4Address(203, 0, 113, 9))
        var limit = SegmentLimit()
        let sender = DatagramSender()
        let here = try server.localEndpoint()
        let way = DatagramWay(to: here, from: absent)
        #expect(try pass(Text([9, 9, 9]), sender, socket, way, &limit) == 0)
        #expect(limit.largest == 65_535)
        let other = DatagramWay(to: here, from: .loopbackV4)
        #expect(try pass(Text([9, 9, 9]), sender, socket, other, &limit) == 3)
    }

    @Test(
        .enabled(
            if: NetworkNamespace.isPermitted, "needs the privilege to make a network namespace"))
    func `datagrams too large for segments leave one by one, smaller ones do not`() throws {
        let outcome = Locked("not run")
        try LoopThread.runToEnd {
            guard NetworkNamespace.enter(), system("ip link set lo up mtu 1500") == 0 else {
                return outcome.withLock { $0 = "no namespace with a small loopback" }
            }
            do {
                let limits = try leaveSingly()
                outcome.withLock { $0 = "arrived, limits \(limits)" }
            } catch {
                outcome.withLock { $0 = "\(error)" }
            }
        }
        #expect(outcome.withLock { $0 } == "arrived, limits [1999, 1999]")
    }

    private func leaveSingly() throws -> [Int] {
        let server = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: true) { _ in }
        let client = try Socket.dialUDP(server.localEndpoint()) { _ in }
        let sender = DatagramSender()
        var limit = SegmentLimit()
        let text = Text([40, 40, 2_000, 2_000, 2_000, 2_000, 1_000, 1_000, 1_000])
        return try (0..<2).map { _ in
            let sent = try pass(text, sender, client, nil, &limit)
            let arrived = try received(server, sent)
            return sent == 9 && arrived == text.datagrams ? limit.largest : -1
        }
    }
}
