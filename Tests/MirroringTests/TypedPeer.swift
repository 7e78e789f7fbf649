import EventLoop
import Glibc
import Logging
import Sockets
import Tunnel
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// A link at whose other end bytes are typed, and those that come are kept.
final class Typist: Link {
    var incoming: [UInt8] = []
    var outgoing: [UInt8] = []

    func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        guard !incoming.isEmpty else { return nil }
        let count = min(buffer.space, incoming.count)
        buffer.append(Array(incoming[..<count]))
        incoming.removeFirst(count)
        return count
    }

    func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        outgoing += [UInt8](copying: bytes)
        return bytes.count
    }

    func watchWritable(_ isWanted: Bool) {}
    func attach(_ owner: any LinkOwner) {}
    func close() {}
}

/// A side with real sockets on loopback, and a guest that types frames.
final class TypedPeer {
    /// A frame that the side sent.
    struct Sent {
        let type: FrameType
        let stream: UInt32
        let payload: [UInt8]
    }

    let loop: Loop
    let side: Forwarder
    private let link = Typist()
    private let session: Session

    /// - Parameter features: What the guest understands.
    init(_ features: Features = .ours) throws {
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
        var hello = Hello(
            role: .guest, instance: 2, epoch: 1, os: "Linux", kernel: "", hostname: "", program: "")
        hello.optionalFeatures = features.rawValue
        type { hello.write(to: &$0) }
        side.tunnelUp(session)
    }

    func close() {
        side.close()
        turn()
        loop.close()
    }

    /// Lets the loop turn, as often as what is on its way on loopback may need.
    func turn() {
        for _ in 0..<8 { loop.runOnce() }
    }

    /// One read of the tunnel; the loop does not turn.
    func type(_ write: (inout ByteWriter) -> Void) {
        var writer = ByteWriter()
        write(&writer)
        type(writer.bytes)
    }

    private func type(_ bytes: [UInt8]) {
        link.incoming += bytes
        session.linkReadable()
    }

    /// A frame with a payload as it is.
    func type(_ type: FrameType, _ stream: StreamID, _ payload: [UInt8]) {
        let packed = FrameHeader(
            rawType: type.rawValue, length: payload.count, stream: stream.rawValue
        ).packed
        self.type(
            (0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) } + payload)
    }

    /// The guest has a listener.
    func advertise(_ number: UInt32, _ kind: SocketKind, _ endpoint: Endpoint) {
        type {
            ListenerMessage(
                id: ListenerID(rawValue: number), kind: kind.rawValue, isV6Only: false,
                endpoint: endpoint, uid: 0, owner: "", container: ""
            ).write(to: &$0)
        }
    }

    /// The side has a listener, its first: number 1.
    func offer(_ kind: SocketKind, _ endpoint: Endpoint) {
        let key = ListenerKey(kind: kind, endpoint: endpoint, isV6Only: false)
        side.apply(
            ListenerChanges(
                changes: [.appeared(Listener(key: key, uid: 0, inode: 1))], isFirst: true))
        turn()
    }

    /// The guest has a client for listener 1.
    func open(_ transport: TransportProtocol, _ dialled: Endpoint) -> StreamID {
        let stream = StreamID(slot: 1, generation: 0, isGuestOpened: true)
        type {
            OpenMessage(
                listener: ListenerID(rawValue: 1), transport: transport, window: 100_000,
                client: Endpoint(.loopbackV4, 1), dialled: dialled
            ).write(to: &$0, stream: stream)
        }
        turn()
        return stream
    }

    /// What the side sent since the last call.
    func sent() throws -> [Sent] {
        var decoder = FrameDecoder()
        var position = 0
        var frames: [Sent] = []
        let bytes = link.outgoing
        while true {
            switch try decoder.next(in: bytes.span, from: &position) {
            case .frame(let header, let payload):
                guard let type = header.type else { continue }
                frames.append(
                    Sent(type: type, stream: header.stream, payload: [UInt8](bytes[payload])))
            case .data(let stream, let payload):
                frames.append(Sent(type: .data, stream: stream, payload: [UInt8](bytes[payload])))
            case .incomplete:
                link.outgoing = []
                return frames
            }
        }
    }
}

/// Receives datagrams that are on their way: until so many came, each waited for five seconds at most. Loopback hands
/// them on soon, but not always before sendmsg(2) returns.
///
/// - Returns: All that waited; for 0 those that are there by now.
func hear(
    _ most: Int, from socket: borrowing Socket
) throws -> [(bytes: [UInt8], sender: Endpoint?)] {
    let batch = DatagramBatch()
    var heard: [(bytes: [UInt8], sender: Endpoint?)] = []
    repeat {
        var entry = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        if most > 0 { poll(&entry, 1, 5_000) }
        guard let count = try batch.receive(from: socket) else { break }
        for index in 0..<count {
            let bytes = batch.withPayload(index) { [UInt8](copying: $0) }
            heard.append((bytes, batch.sender(index)))
        }
    } while heard.count < most
    return heard
}
