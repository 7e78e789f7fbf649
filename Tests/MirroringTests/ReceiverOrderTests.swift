import Sockets
import Testing
import TwinportModel
import Wire

@testable import Mirroring

/// The receiver's half of the order of listeners and bytes, with sockets: frames that come in several reads of the
/// tunnel, between which the loop does not turn.
@Suite(.serialized) struct ReceiverOrderTests {
    private let server = Endpoint(.loopbackV4, 17_350)
    private let told = Endpoint(.loopbackV4, 17_351)

    /// Whether somebody accepts at the place that the bytes tell.
    private func answers() throws -> Bool {
        do {
            return try Socket.dialTCP(told).isConnected
        } catch {
            return false
        }
    }

    @Test func `a mirror accepts before bytes of a later read are written to an application`()
        throws
    {
        let peer = try TypedPeer()
        defer { peer.close() }
        let listening = try Socket.boundTCP(to: server, isV6Only: false)
        try listening.listenForConnections()
        peer.offer(.tcp, server)
        let stream = peer.open(.tcp, server)
        guard let application = try listening.accept() else {
            Issue.record("the stream was not dialled")
            return
        }
        let inbox = IOBuffer(capacity: 1_000)

        peer.advertise(7, .tcp, told)
        #expect(try !answers(), "mirrors wait for the turn's end, or for bytes")
        peer.type(.data, stream, [1, 2, 3])
        #expect(try application.read(into: inbox) == 3)
        #expect(try answers())

        // What went away does not wait: it is closed before the bytes that tell of it.
        peer.type { Frames.writeGone(ListenerID(rawValue: 7), to: &$0) }
        peer.type(.fin, stream, [])
        #expect(try application.read(into: inbox) == 0)
        #expect(try !answers())
    }

    @Test func `a mirror is bound before a datagram of a later read is sent to an application`()
        throws
    {
        let peer = try TypedPeer()
        defer { peer.close() }
        let application = try Socket.boundUDP(to: server, isV6Only: false) { _ in }
        peer.offer(.udp, server)
        let stream = peer.open(.udp, server)
        peer.advertise(7, .tcp, told)
        #expect(try !answers())
        peer.type(.datagram, stream, [1])
        #expect(try hear(1, from: application).count == 1)
        #expect(try answers())
    }
}
