internal import Noise
internal import Sockets
internal import Wire

// # A link whose two ends prove that they have the same key
//
//     session ⇄ ProofLink ⇄ SocketLink ⇄ Unix socket, vsock
//
// For paths that are the kernel's or the hypervisor's own: nobody reads or changes bytes on the way, but more
// programs than the right one may stand at its end. The handshake is that of ``NoiseLink`` with a prologue of its
// own, and one record more; frames follow as they are, and cost nothing.
//
//     initiator → responder    0x0030, psk, e      the first message
//     responder → initiator    0x0030, e, ee       whoever answers it has the key
//     initiator → responder    0x0010, a tag       whoever read the answer has the key
//
// The third record is what a replayed first message lacks: with a cipher, whoever replays cannot go on, either.
//
// A record begins with 0x00, a frame never does. So each side knows at the first byte that the other has no
// key, and says so in the clear (GOAWAY), which any version understands. GOAWAY is also the one frame that is heard
// without a proof.

/// A proof of the key before the first frame. Loop thread only.
final class ProofLink: HandshakeLink {
    private enum Phase {
        /// The other end's message of the handshake is awaited.
        case greeting
        /// The responder awaits the third record.
        case confirming(CipherState)
        case open
        /// The other end gave no proof. It is told so, and nothing else.
        case refusing
        /// The other end says goodbye in the clear.
        case leaving
    }

    static let prologue = Array("twinport proof 1".utf8)
    private static let tag = CipherState.tagLength

    private var phase = Phase.greeting

    /// - Parameter early: What was read of the other end's bytes already: its first message, or nothing.
    init(_ inner: any Link, key: TunnelKey, part: Part, early: [UInt8] = []) {
        // The record that is awaited, and not a byte more: what follows it is the session's.
        let record = Self.header + HandshakeState.messageLength
        super.init(
            inner, HandshakeState(key: key, prologue: Self.prologue), part: part, early: early,
            capacity: (record, 2 * record))
    }

    override func watchWritable(_ isWanted: Bool) {
        if isOpen, outgoing.isEmpty { return inner.watchWritable(isWanted) }
        super.watchWritable(isWanted)
    }

    // MARK: Reading

    override func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        while !isOpen {
            switch phase {
            case .refusing: throw .otherKey
            case .leaving: return try readGoodbye(into: buffer)
            case .greeting, .confirming, .open:
                guard let count = try inner.read(into: incoming) else { return nil }
                if count == 0 { return 0 }
                try advance()
            }
        }
        return try inner.read(into: buffer)
    }

    /// Looks at the first bytes of a record, and takes a whole one.
    private func advance() throws(LinkError) {
        let (first, second) = incoming.withReadable { ($0[0], $0.count > 1 ? $0[1] : nil) }
        if first == FrameType.goAway.rawValue {
            phase = .leaving
            return
        }
        guard first == 0, second == nil || second == expected else {
            phase = .refusing
            throw .noProof
        }
        guard let record = nextRecord() else { return }
        do {
            try handle(record)
        } catch {
            phase = .refusing
            throw .otherKey
        }
        flushAndWatch()
    }

    /// How long the awaited record is.
    private var expected: UInt8 {
        if case .confirming = phase { return UInt8(Self.tag) }
        return UInt8(HandshakeState.messageLength)
    }

    override func nextRecord() -> [UInt8]? {
        let length = Int(expected)
        let record: [UInt8]? = incoming.withReadable { bytes in
            guard bytes.count == Self.header + length else { return nil }
            return Array(copying: bytes.extracting(Self.header...))
        }
        if record != nil { incoming.clear() }
        return record
    }

    private func handle(_ record: [UInt8]) throws {
        switch phase {
        case .greeting: try greet(record)
        case .confirming(var receive):
            try receive.decrypt(record) { _ in }
            open()
        case .open, .refusing, .leaving: throw NoiseError.malformed
        }
    }

    override func greeted(send: CipherState, receive: CipherState) throws(NoiseError) {
        switch part {
        case .initiator:
            var send = send
            queue(try send.encrypt([]))
            open()
        case .responder:
            incoming = IOBuffer(capacity: Self.header + Self.tag)
            phase = .confirming(receive)
        }
    }

    override func refuseEarly() { phase = .refusing }

    private func open() {
        phase = .open
        isOpen = true
    }

    private func readGoodbye(into buffer: IOBuffer) throws(LinkError) -> Int? {
        let held = incoming.count
        guard held > 0 else { return try inner.read(into: buffer) }
        guard buffer.space >= held else { return nil }
        incoming.withReadable { buffer.append($0) }
        incoming.clear()
        // The inner link reports its end again on the next read, also after an error.
        let more = (try? inner.read(into: buffer)) ?? nil
        return held + (more ?? 0)
    }

    // MARK: Writing

    override func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        if !outgoing.isEmpty {
            try flush()
            guard outgoing.isEmpty else { return nil }
        }
        if isOpen { return try inner.write(bytes) }
        guard case .refusing = phase else { return nil }
        // Our HELLO is not for a stranger; the GOAWAY behind it is.
        let greeting = Self.lengthOfHello(bytes)
        return greeting > 0 ? greeting : try inner.write(bytes)
    }

    private static func lengthOfHello(_ bytes: Span<UInt8>) -> Int {
        guard bytes.count >= FrameHeader.size, bytes[0] == FrameType.hello.rawValue else {
            return 0
        }
        let length = Int(bytes[1]) | Int(bytes[2]) << 8 | Int(bytes[3]) << 16
        return min(bytes.count, FrameHeader.size + length)
    }
}
