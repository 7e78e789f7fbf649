internal import Noise
internal import Sockets
internal import Wire

// # A link that begins with a handshake
//
//     session ⇄ HandshakeLink ⇄ SocketLink
//
// What the links with a key have in common. One message each way proves the key and makes the ciphers; a message is a record:
// a length of two bytes in big-endian order, then so many bytes. What follows is the subclass's: ``NoiseLink`` encrypts
// everything, ``ProofLink`` wants one record more and then steps aside.
//
//     attach ──▶ queue(first message)          initiator
//            ──▶ greet(early bytes)            responder, if its acceptor has read the first message already
//     a record came ──▶ greet(record) ──▶ subclass: greeted(send, receive)
//
// The session does not know: until the handshake is done, reading says "nothing yet" and writing "no room".
// `outgoing` goes before anything else that is written, and interest in writability stays on while it is not empty.

/// A link around another one, and what both kinds of handshake need. Its subclasses read and write. Loop thread only.
class HandshakeLink: Link {
    /// Which message of the handshake this side writes.
    enum Part {
        case initiator
        case responder
    }

    /// The bytes of a record's length.
    static let header = 2

    final let inner: any Link
    final let part: Part
    /// What was read and makes no whole record yet.
    final var incoming: IOBuffer
    /// Records that the inner link has not taken.
    final let outgoing: IOBuffer
    /// Whether the session's own bytes may pass.
    final var isOpen = false
    final var isWritableWanted = false
    /// Nil once the other end's message came, right or wrong.
    private var handshake: HandshakeState?
    /// It owns this link.
    private unowned var owner: (any LinkOwner)?

    /// - Parameters:
    ///   - early: What was read of the other end's bytes already: its first message, or nothing.
    ///   - capacity: Of the buffers, in bytes.
    init(
        _ inner: any Link, _ handshake: HandshakeState, part: Part, early: [UInt8],
        capacity: (incoming: Int, outgoing: Int)
    ) {
        self.inner = inner
        self.part = part
        self.handshake = handshake
        incoming = IOBuffer(capacity: capacity.incoming)
        outgoing = IOBuffer(capacity: capacity.outgoing)
        incoming.append(early)
    }

    // MARK: What subclasses do

    func read(into buffer: IOBuffer) throws(LinkError) -> Int? { nil }
    func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? { nil }
    func agreed(on features: Features) {}

    /// Takes a whole record out of `incoming`; nil when there is none.
    func nextRecord() -> [UInt8]? { nil }

    /// The other end's message was right. Called once.
    func greeted(send: CipherState, receive: CipherState) throws(NoiseError) {}

    /// The message that came early was wrong, which the next read reports.
    func refuseEarly() {}

    // MARK: The chain of links

    final func attach(_ owner: any LinkOwner) {
        self.owner = owner
        inner.attach(self)
        switch part {
        case .initiator:
            // Nothing was read or written yet: it cannot fail.
            guard let first = try? handshake?.writeFirst() else { return }
            queue(first)
        case .responder:
            guard let record = nextRecord() else { return }
            if (try? greet(record)) == nil { refuseEarly() }
        }
        flushAndWatch()
    }

    final func close() {
        inner.close()
        owner = nil
    }

    func watchWritable(_ isWanted: Bool) {
        isWritableWanted = isWanted
        flushAndWatch()
    }

    // MARK: The handshake

    /// Whether the other end's message has not come.
    final var isGreeting: Bool { handshake != nil }

    /// Handles the other end's message, and answers it if this side is the responder.
    final func greet(_ record: [UInt8]) throws(NoiseError) {
        guard var handshake = handshake.take(), record.count == HandshakeState.messageLength else {
            throw .malformed
        }
        switch part {
        case .initiator:
            let keys = try handshake.readSecond(record[...])
            try greeted(send: keys.send, receive: keys.receive)
        case .responder:
            let keys = try handshake.answer(record[...])
            queue(keys.answer)
            try greeted(send: keys.send, receive: keys.receive)
        }
    }

    // MARK: Records that wait

    final func queue(_ record: [UInt8]) {
        outgoing.append(UInt16(record.count).byteSwapped)
        outgoing.append(record)
    }

    final func flush() throws(LinkError) {
        while !outgoing.isEmpty {
            let inner = self.inner
            let written = try outgoing.withReadable { (bytes) throws(LinkError) in
                try inner.write(bytes)
            }
            guard let written else { return }
            outgoing.consume(written)
        }
    }

    final func flushAndWatch() {
        // A link that is broken says so to the next read.
        try? flush()
        inner.watchWritable(!outgoing.isEmpty || (isOpen && isWritableWanted))
    }
}

extension HandshakeLink: LinkOwner {
    final func linkReadable() { owner?.linkReadable() }
    final func linkWritable() { owner?.linkWritable() }
}
