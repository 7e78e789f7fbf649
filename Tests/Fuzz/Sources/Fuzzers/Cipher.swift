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
    let nobody = Nobody()
    peer.attach(nobody)
    link.attach(nobody)
    defer { withExtendedLifetime(nobody) {} }
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

/// The proof against the same: without the key no byte reaches the session but a GOAWAY.
func fuzzProof(_ input: [UInt8]) {
    var script = Script(input)
    let below = MemoryLink()
    let part: NoiseLink.Part = script.byte() & 1 == 0 ? .responder : .initiator
    var early: [UInt8] = []
    if part == .responder, script.byte() & 1 == 0 {
        var peer = HandshakeState(key: key, prologue: ProofLink.prologue)
        early = [0, UInt8(HandshakeState.messageLength)] + ((try? peer.writeFirst()) ?? [])
    }
    let link = ProofLink(below, key: key, part: part, early: early)
    let buffer = IOBuffer(capacity: 512 << 10)
    let nobody = Nobody()
    let frame: [UInt8] = [1, 2, 3]
    link.attach(nobody)
    defer { withExtendedLifetime(nobody) {} }
    while !script.isAtEnd {
        switch script.number(below: 4) {
        case 0: below.incoming += [0, script.byte() & 1 == 0 ? 48 : 16]
        case 1: below.incoming += [0x22]
        case 2: below.capacity = script.byte() & 1 == 0 ? 3 : .max
        default: below.incoming += script.take(script.number(below: 80))
        }
        do {
            _ = try link.read(into: buffer)
        } catch {
            break
        }
        buffer.withReadable { bytes in
            if !bytes.isEmpty { require(bytes[0] == 0x22, "bytes without a proof") }
        }
        let written = (try? link.write(frame.span)) ?? nil
        require(written == nil, "written without a proof")
    }
    // A stranger may be told why, and nothing that looks like HELLO.
    let hello: [UInt8] = [1, 2, 0, 0, 0, 0, 0, 0, 9, 9]
    let taken = (try? link.write(hello.span)) ?? nil
    require(taken == nil || taken == hello.count, "part of a HELLO")
}

private let key = TunnelKey.random()

/// Owns a link, and is told nothing.
private final class Nobody: LinkOwner {
    func linkReadable() {}
    func linkWritable() {}
}
