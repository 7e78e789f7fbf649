import Glibc
import Posix
import Testing
import TwinportModel

@testable import Sockets

@Suite struct DatagramTests {
    private func bound(_ address: IPAddress) throws -> Socket {
        try Socket.boundUDP(to: Endpoint(address, 0), isV6Only: false) { #expect($0 > 0) }
    }

    private func payload(_ batch: DatagramBatch, _ index: Int) -> [UInt8] {
        batch.withPayload(index) { [UInt8](copying: $0) }
    }

    @Test func `a batch holds payloads, senders and the addresses they were sent to`() throws {
        let server = try bound(.anyV4)
        let port = try server.localEndpoint().port
        let addresses = (1...3).map { IPAddress.v4(IPv4Address(127, 0, 0, $0)) }
        let client = try bound(.loopbackV4)
        let batch = DatagramBatch()
        #expect(try batch.receive(from: server) == nil)
        for (index, address) in addresses.enumerated() {
            let bytes = [UInt8](repeating: UInt8(index), count: index * 1_000)
            #expect(
                try client.sendDatagram(bytes.span, to: Endpoint(address, port), from: nil) == true)
        }
        wait(server.descriptor)
        #expect(try batch.receive(from: server) == 3)
        #expect(batch.byteCount == 3_000)
        for (index, address) in addresses.enumerated() {
            #expect(payload(batch, index) == [UInt8](repeating: UInt8(index), count: index * 1_000))
            #expect(try batch.sender(index) == client.localEndpoint())
            #expect(batch.destination(index) == address)
            #expect(batch.interface(index) == 0)
        }
    }

    @Test func `a batch takes 32 at most, and fewer if so asked`() throws {
        let server = try bound(.loopbackV4)
        let client = try Socket.dialUDP(server.localEndpoint()) { _ in }
        for number in 0..<40 as Range<UInt8> {
            #expect(try client.sendDatagram([number].span) == true)
        }
        let batch = DatagramBatch()
        var got: [UInt8] = []
        for expected in [1, 32, 7] {
            wait(server.descriptor)
            let count = try batch.receive(from: server, limit: expected == 1 ? 1 : 100)
            #expect(count == expected)
            for index in 0..<(count ?? 0) { got += payload(batch, index) }
        }
        #expect(got == Array(0..<40))
    }

    @Test func `an answer leaves from the address that was asked`() throws {
        let server = try bound(.anyV4)
        let asked = IPAddress.v4(IPv4Address(127, 0, 0, 9))
        let client = try Socket.dialUDP(Endpoint(asked, server.localEndpoint().port)) { _ in }
        #expect(try client.sendDatagram([1].span) == true)
        let batch = DatagramBatch()
        wait(server.descriptor)
        #expect(try batch.receive(from: server) == 1)
        let peer = try #require(batch.sender(0))
        // A connected socket drops what comes from elsewhere.
        #expect(try server.sendDatagram([2].span, to: peer, from: nil) == true)
        #expect(try server.sendDatagram([3].span, to: peer, from: batch.destination(0)) == true)
        #expect(try client.hear() == [3])
    }

    @Test(.enabled(if: Socket.isIPv6Supported, "this machine has no IPv6"))
    func `a dual-stack socket serves both families`() throws {
        let server = try bound(.anyV6)
        let port = try server.localEndpoint().port
        let batch = DatagramBatch()
        for address in [IPAddress.loopbackV4, .loopbackV6] {
            let client = try Socket.dialUDP(Endpoint(address, port)) { _ in }
            #expect(try client.sendDatagram([5].span) == true)
            wait(server.descriptor)
            #expect(try batch.receive(from: server) == 1)
            let (peer, destination) = (try #require(batch.sender(0)), batch.destination(0))
            #expect(destination?.unmapped == address)
            #expect(try server.sendDatagram([6].span, to: peer, from: destination) == true)
            #expect(try client.hear() == [6])
        }
    }

    @Test func `a connected socket learns that nobody listens`() throws {
        let endpoint: Endpoint
        do { endpoint = try bound(.loopbackV4).localEndpoint() }
        let client = try Socket.dialUDP(endpoint) { _ in }
        #expect(try client.sendDatagram([1].span) == true)
        wait(client.descriptor)
        #expect(code { _ = try client.sendDatagram([2].span) } == ECONNREFUSED)
        #expect(try client.sendDatagram([3].span) == true)
    }

    @Test func `what is beyond the most is counted, an empty datagram as one`() {
        let batch = DatagramBatch()
        batch.cut(0, DatagramBatch.mostDatagrams, every: 1)
        #expect(batch.excess == 0 && batch.byteCount == DatagramBatch.mostDatagrams)
        batch.cut(1, 0, every: 0)
        #expect(batch.excess == 1)
        batch.cut(2, 7, every: 3)
        #expect(batch.excess == 4 && batch.byteCount == DatagramBatch.mostDatagrams)
    }

    @Test func `the largest datagram arrives whole, and an empty one is one`() throws {
        let server = try bound(.loopbackV4)
        let client = try Socket.dialUDP(server.localEndpoint()) { _ in }
        let largest = [UInt8](repeating: 1, count: 65_507)
        #expect(try client.sendDatagram(largest.span) == true)
        #expect(try client.sendDatagram([UInt8]().span) == true)
        #expect(code { _ = try client.sendDatagram((largest + [0]).span) } == EMSGSIZE)
        let batch = DatagramBatch()
        wait(server.descriptor)
        #expect(try batch.receive(from: server) == 2)
        #expect(payload(batch, 0) == largest && payload(batch, 1).isEmpty)
    }
}
