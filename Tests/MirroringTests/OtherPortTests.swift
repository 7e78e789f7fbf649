import Glibc
import Sockets
import Testing
import TwinportModel
import Wire

@testable import Mirroring

/// Answers that come from another port than the one that was asked: what is followed, what is not, and the count.
@Suite(.serialized) struct OtherPortTests {
    private static func place(_ port: Port) -> Endpoint { Endpoint(.loopbackV4, port) }

    private static func socket(_ port: Port) throws -> Socket {
        try Socket.boundUDP(to: place(port), isV6Only: false) { _ in }
    }

    /// The datagrams that come to a socket, as many as are expected: their senders' ports and their bytes.
    private static func read(_ socket: borrowing Socket, _ count: Int) throws -> [String] {
        try hear(count, from: socket).map { datagram in
            let sender = try #require(datagram.sender)
            return "\(datagram.bytes) from \(sender.port)"
        }
    }

    // MARK: The half with the listener

    /// The guest's client asked; the listener got it at the returned address.
    private func ask(_ peer: TypedPeer, _ server: borrowing Socket) throws -> Endpoint {
        peer.offer(.udp, try server.localEndpoint())
        let stream = peer.open(.udp, try server.localEndpoint())
        peer.type(.datagram, stream, [7])
        let heard = try hear(1, from: server)
        #expect(heard.count == 1)
        _ = try peer.sent()
        return try #require(heard.first?.sender)
    }

    private func answers(_ peer: TypedPeer) throws -> [String] {
        peer.turn()
        return try peer.sent().compactMap { frame in
            frame.type == .moved || frame.type == .datagram ? "\(frame.type) \(frame.payload)" : nil
        }
    }

    @Test func `a peer that is too old gets no answer from another port, and that is counted`()
        throws
    {
        let peer = try TypedPeer(Features.ours.subtracting(.moved))
        defer { peer.close() }
        let server = try Self.socket(17_330)
        let other = try Self.socket(17_331)
        let client = try ask(peer, server)
        _ = try other.sendDatagram([1].span, to: client, from: nil)
        #expect(try answers(peer) == [])
        #expect(peer.side.counters.answersNotCarried == 1 && peer.side.counters.flowsMoved == 0)
        // The listener's own answer comes all the same.
        _ = try server.sendDatagram([2].span, to: client, from: nil)
        #expect(try answers(peer) == ["datagram [2]"])
        #expect(peer.side.counters.answersNotCarried == 1)
    }

    @Test(.enabled(if: geteuid() == 0, "a port below 1024 takes root"))
    func `an answer from a port below 1024 is not carried, and counted`() throws {
        let peer = try TypedPeer()
        defer { peer.close() }
        let server = try Self.socket(17_330)
        let low = try Self.socket(1_023)
        let client = try ask(peer, server)
        _ = try low.sendDatagram([1].span, to: client, from: nil)
        #expect(try answers(peer) == [])
        #expect(peer.side.counters.answersNotCarried == 1)
        let other = try Self.socket(17_331)
        _ = try other.sendDatagram([2].span, to: client, from: nil)
        #expect(try answers(peer) == ["moved [179, 67]", "datagram [2]"])
        #expect(peer.side.counters.answersNotCarried == 1 && peer.side.counters.flowsMoved == 1)
    }

    @Test func `one other port is told of, a further one is not, and the listener's takes it back`()
        throws
    {
        let peer = try TypedPeer()
        defer { peer.close() }
        let server = try Self.socket(17_330)
        let other = try Self.socket(17_331)
        let third = try Self.socket(17_332)
        let client = try ask(peer, server)
        _ = try other.sendDatagram([1].span, to: client, from: nil)
        #expect(try answers(peer) == ["moved [179, 67]", "datagram [1]"])
        _ = try third.sendDatagram([2].span, to: client, from: nil)
        _ = try other.sendDatagram([3].span, to: client, from: nil)
        #expect(try answers(peer) == ["datagram [3]"])
        _ = try server.sendDatagram([4].span, to: client, from: nil)
        #expect(try answers(peer) == ["moved [178, 67]", "datagram [4]"])
        #expect(peer.side.counters.flowsMoved == 1)
    }

    // MARK: The half with the client

    private func moved(_ peer: TypedPeer, _ stream: StreamID, to port: Port, then byte: UInt8) {
        peer.type { Frames.writeMoved(stream, port: port, to: &$0) }
        peer.type(.datagram, stream, [byte])
        peer.turn()
    }

    /// A mirror of the guest's 17340, which `client` asked.
    private func serve(_ peer: TypedPeer, _ client: borrowing Socket) throws -> StreamID {
        peer.advertise(1, .udp, Self.place(17_340))
        peer.turn()
        _ = try client.sendDatagram([7].span, to: Self.place(17_340), from: nil)
        peer.turn()
        let open = try #require(try peer.sent().first { $0.type == .open })
        return try #require(StreamID(rawValue: open.stream))
    }

    @Test func `a stream moves once: after a second MOVED nothing comes until it is taken back`()
        throws
    {
        let peer = try TypedPeer()
        defer { peer.close() }
        let client = try Self.socket(17_349)
        let stream = try serve(peer, client)
        moved(peer, stream, to: 17_341, then: 1)
        #expect(try Self.read(client, 1) == ["[1] from 17341"])
        #expect(peer.side.counters.flowsMoved == 1 && peer.side.counters.answersNotCarried == 0)
        moved(peer, stream, to: 17_342, then: 2)
        #expect(try Self.read(client, 0) == [])
        #expect(peer.side.counters.flowsMoved == 1 && peer.side.counters.answersNotCarried == 1)
        // Both ports are free: no socket of the flow's is left.
        let first = try Self.socket(17_341)
        let second = try Self.socket(17_342)
        moved(peer, stream, to: 17_340, then: 3)
        #expect(try Self.read(client, 1) == ["[3] from 17340"])
        // What the client sends to the mirror belongs to the same stream again.
        _ = try client.sendDatagram([8].span, to: Self.place(17_340), from: nil)
        peer.turn()
        let last = try #require(try peer.sent().last { $0.type == .datagram })
        #expect(last.payload == [8] && last.stream == stream.rawValue)
        withExtendedLifetime((first.descriptor, second.descriptor)) {}
    }

    /// Why an answer's port cannot be had where the client is.
    enum Obstacle: CaseIterable {
        case taken
        case privileged
        case leftOut
    }

    @Test(arguments: Obstacle.allCases)
    func `an answer whose port cannot be had here is not carried, and counted`(
        obstacle: Obstacle
    ) throws {
        let peer = try TypedPeer()
        defer { peer.close() }
        let client = try Self.socket(17_349)
        let stream = try serve(peer, client)
        let holder = try Self.socket(obstacle == .taken ? 17_341 : 17_343)
        if obstacle == .leftOut {
            var policy = MirrorPolicy.guest
            policy.mirrorIgnore = [try #require(PortRule("udp/17341"))]
            peer.side.setPolicy(policy)
            peer.turn()
        }
        moved(peer, stream, to: obstacle == .privileged ? 1_023 : 17_341, then: 1)
        #expect(try Self.read(client, 0) == [])
        #expect(peer.side.counters.answersNotCarried == 1 && peer.side.counters.flowsMoved == 0)
        moved(peer, stream, to: 17_340, then: 2)
        #expect(try Self.read(client, 1) == ["[2] from 17340"])
        #expect(peer.side.counters.answersNotCarried == 1)
        withExtendedLifetime(holder.descriptor) {}
    }
}
