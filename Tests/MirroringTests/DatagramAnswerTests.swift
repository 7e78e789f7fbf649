import EventLoop
import Glibc
import Logging
import Posix
import Sockets
import Testing
import Tunnel
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// A side with a UDP listener on loopback, and a peer that types frames.
private final class Exchange {
    let loop: Loop
    let side: Forwarder
    private let link = Typist()
    private let session: Session
    private let stream = StreamID(slot: 1, generation: 0, isGuestOpened: true)

    init(_ listener: Endpoint) throws {
        loop = try Loop()
        side = try Forwarder(
            loop: loop, role: .host, policy: .guest, own: OwnSockets(),
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        session = Session(
            link: link,
            hello: Hello(
                role: .host, instance: 1, epoch: 1, os: "", kernel: "", hostname: "", program: ""),
            handshake: nil, clock: { 0 })
        session.start()
        type {
            Hello(
                role: .guest, instance: 2, epoch: 1, os: "Linux", kernel: "", hostname: "",
                program: ""
            ).write(to: &$0)
        }
        side.tunnelUp(session)
        let key = ListenerKey(kind: .udp, endpoint: listener, isV6Only: false)
        let change = ListenerChange.appeared(Listener(key: key, uid: 0, inode: 1))
        side.apply(ListenerChanges(changes: [change], isFirst: true))
        loop.runOnce()
        type {
            OpenMessage(
                listener: ListenerID(rawValue: 1), transport: .udp, window: 1_000,
                client: Endpoint(.loopbackV4, 1), dialled: listener
            ).write(to: &$0, stream: self.stream)
        }
        loop.runOnce()
        link.outgoing = []
    }

    func close() {
        side.close()
        for _ in 0..<4 { loop.runOnce() }
        loop.close()
    }

    private func type(_ write: (inout ByteWriter) -> Void) {
        var writer = ByteWriter()
        write(&writer)
        link.incoming += writer.bytes
        session.linkReadable()
    }

    func send(_ datagrams: [UInt8]...) {
        for datagram in datagrams { type(datagram) }
        session.linkReadable()
    }

    private func type(_ datagram: [UInt8]) {
        let packed = FrameHeader(
            rawType: FrameType.datagram.rawValue, length: datagram.count, stream: stream.rawValue
        ).packed
        link.incoming +=
            (0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) } + datagram
    }

    /// What was sent since, as types and payload sizes.
    func sent() throws -> [String] {
        var decoder = FrameDecoder()
        var position = 0
        var frames: [String] = []
        let bytes = link.outgoing
        while case .frame(let header, let payload) = try decoder.next(
            in: bytes.span, from: &position)
        {
            guard let type = header.type else { continue }
            frames.append("\(type) \(payload.count)")
        }
        link.outgoing = []
        return frames
    }
}

@Suite(.serialized) struct DatagramAnswerTests {
    private let place = Endpoint(.loopbackV4, 17_316)

    /// Answers a datagram `times` over.
    private func answer(_ server: borrowing Socket, times: Int) throws {
        let datagram: [UInt8] = [1, 2, 3]
        let client = try #require(try hear(1, from: server).first?.sender)
        for _ in 0..<times {
            _ = try server.sendDatagram(datagram.span, to: client, from: nil)
        }
    }

    private func serve(_ exchange: Exchange, times: Int) throws {
        let server = try Socket.boundUDP(to: place, isV6Only: false) { _ in }
        exchange.send([7])
        try answer(server, times: times)
    }

    /// The kernel tells a connected socket of the closed port before it gives what came from there.
    @Test(arguments: [1, 60, 200])
    func `answers given before the port was closed reach the client, then the refusal`(
        answers: Int
    ) throws {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        // The server is gone when this returns, and nothing of its answers has been read.
        try serve(exchange, times: answers)
        exchange.send([8])
        var sent: [String] = []
        for _ in 0..<40 {
            exchange.loop.runOnce()
            sent += try exchange.sent()
        }
        #expect(sent.last?.hasPrefix("reset") == true)
        #expect(sent.filter { $0 == "datagram 3" }.count == answers)
        #expect(exchange.side.flows.udpCount == 0)
    }

    @Test func `datagrams that came together reach the listener before it answered and after`()
        throws
    {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        let server = try Socket.boundUDP(to: place, isV6Only: false) { _ in }
        for round in 0..<3 as Range<UInt8> {
            exchange.send([round, 1], [round, 2], [], [round, 3, 3], [round])
            let heard = try hear(5, from: server)
            #expect(heard.map(\.bytes.count) == [2, 2, 0, 3, 1])
            let client = try #require(heard.first?.sender)
            _ = try server.sendDatagram([9].span, to: client, from: nil)
            for _ in 0..<4 { exchange.loop.runOnce() }
            #expect(try exchange.sent().filter { $0 == "datagram 1" }.count == 1)
        }
        #expect(exchange.side.counters.datagramsDropped == 0)
    }

    @Test func `answers that come as segments of packets arrive, also more than a queue holds`()
        throws
    {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        let server = try Socket.boundUDP(to: place, isV6Only: false) { _ in }
        exchange.send([1])
        let heard = try hear(1, from: server)
        let way = DatagramWay(to: try #require(heard.first?.sender), from: nil)
        var run = DatagramRun()
        let bytes = [UInt8](repeating: 5, count: 60 * 100)
        for index in 0..<60 { run.append((index * 100)..<(index * 100 + 100)) }
        var limit = SegmentLimit()
        let sender = DatagramSender()
        for _ in 0..<3 {
            #expect(sender.send(run, of: bytes.span, through: server, way, &limit).sent == 60)
        }
        var sent: [String] = []
        for _ in 0..<10 {
            exchange.loop.runOnce()
            sent += try exchange.sent()
        }
        #expect(sent.filter { $0 == "datagram 100" }.count == 180)
        #expect(exchange.side.counters.datagramsDropped == 0)
    }

    @Test func `datagrams that came together meet a closed port as one does`() throws {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        try serve(exchange, times: 1)
        for _ in 0..<4 { exchange.loop.runOnce() }
        exchange.send([1], [2], [3, 4], [5])
        for _ in 0..<4 { exchange.loop.runOnce() }
        #expect(try exchange.sent().filter { $0.hasPrefix("reset") }.count == 1)
        #expect(exchange.side.flows.udpCount == 0)
    }

    @Test func `datagrams that a closed port kept from being sent are counted, each`() throws {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        try serve(exchange, times: 1)
        for _ in 0..<4 { exchange.loop.runOnce() }
        // The first of these meets the closed port; those that come after the kernel has heard of it are not sent.
        for _ in 0..<1_000 where exchange.side.counters.datagramsDropped == 0 {
            exchange.send([1, 1], [2, 2], [3, 3])
            usleep(1_000)
        }
        #expect(exchange.side.counters.datagramsDropped == 3)
    }

    @Test func `a closed port that answered nothing is refused at once`() throws {
        let exchange = try Exchange(place)
        defer { exchange.close() }
        exchange.send([7])
        for _ in 0..<4 { exchange.loop.runOnce() }
        #expect(try exchange.sent().filter { $0.hasPrefix("reset") }.count == 1)
        #expect(exchange.side.flows.udpCount == 0)
    }
}
