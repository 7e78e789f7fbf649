import Noise
import Sockets
import Wire

@testable import Tunnel

// The encrypted link against bytes that are not its peer's: the handshake, record lengths, and real records
// that were cut, repeated or changed.

func fuzzCipher(_ input: [UInt8]) {
    var script = Script(input)
    let below = MemoryLink()
    below.keepsOutgoing = true
    let peerBelow = MemoryLink()
    peerBelow.keepsOutgoing = true
    let link = NoiseLink(below, key: key, part: .responder)
    let peer = NoiseLink(peerBelow, key: key, part: .initiator)
    let buffer = IOBuffer(capacity: 512 << 10)
    var sent = 0
    var received = 0
    let greeting = Session(
        link: peer,
        hello: Hello(
            role: .guest, instance: 1, epoch: 1, os: "", kernel: "", hostname: "", program: ""),
        delegate: Nobody.shared, clock: { 0 })
    peer.attach(greeting)
    while !script.isAtEnd {
        switch script.number(below: 6) {
        case 0: below.incoming += script.take(script.number(below: 80))
        case 1:
            let count = min(peerBelow.outgoing.count, 1 << script.number(below: 18))
            below.incoming += peerBelow.outgoing[..<count]
            peerBelow.outgoing.removeFirst(count)
        case 2:
            peerBelow.incoming += below.outgoing
            below.outgoing.removeAll()
            let scratch = IOBuffer(capacity: 512 << 10)
            _ = try? peer.read(into: scratch)
        case 3:
            let bytes = [UInt8](repeating: 5, count: 1 << script.number(below: 17))
            sent += ((try? peer.write(bytes.span)) ?? 0) ?? 0
        case 4: if !below.incoming.isEmpty { below.incoming[0] ^= script.byte() }
        default: below.capacity = script.byte() & 1 == 0 ? 3 : .max
        }
        guard let count = try? link.read(into: buffer) else { return }
        received += count
        buffer.withReadable { bytes in
            for index in bytes.indices { require(bytes[index] == 5, "bytes nobody sent") }
        }
        buffer.clear()
        require(received <= sent, "received \(received) of \(sent)")
    }
}

private let key = TunnelKey.random()

private final class Nobody: SessionDelegate, @unchecked Sendable {
    static let shared = Nobody()
    func session(_ session: Session, greeted hello: Hello) {}
    func session(_ session: Session, advertised listener: ListenerMessage) {}
    func session(_ session: Session, withdrew listener: ListenerID) {}
    func sessionSynced(_ session: Session) {}
    func session(_ session: Session, reported mirror: MirrorMessage) {}
    func session(_ session: Session, asked policy: PolicyMessage) {}
    func session(_ session: Session, opened stream: TunnelStream, _ message: OpenMessage) {}
    func session(_ session: Session, writeControl writer: inout ByteWriter) -> ControlTurn {
        .nothing
    }
    func session(_ session: Session, ended end: SessionEnd) {}
}
