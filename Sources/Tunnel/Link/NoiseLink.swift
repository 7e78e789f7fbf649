internal import Noise
internal import Sockets
internal import Wire

// # An encrypted link
//
//     session ⇄ NoiseLink ⇄ SocketLink ⇄ TCP
//
// A link like any other, whose own link is the socket's: each reports readiness to the next one above it.
//
// Records on the wire: a length of two bytes in big-endian order, then so many bytes, at most 65,535. The
// first record each way is the handshake, the rest carry the session's bytes, 65,519 at most each.
//
// A peer without the key never gets a frame in; its connection ends like any that does not greet in time.
//
// Readiness belongs to the socket, which knows nothing of records held here. `incoming` therefore never
// keeps a whole record when a read returns: it is smaller than the room the session's inbox always has.
// `outgoing` holds one write's records at most, 128 KiB; interest in writability stays on while it is not
// empty.

// Each direction's key is replaced after every 65,536th record, if both HELLOs say so. The records up to HELLO are far
// fewer, and until it was parsed one read is handed up at a time, so that no record is opened too early.

// A processor without instructions for AES takes seven times as long for it as for ChaCha20-Poly1305. Where a HELLO says so
// and both sides can, each direction changes to that cipher: an empty record is the mark, and what follows it is
// under the other cipher and the next key. It comes once, and an intruder who adds one ends the session, as with any
// other change.

/// A cipher around another link. Loop thread only.
final class NoiseLink: HandshakeLink {
    private enum Phase {
        case greeting
        case open(send: CipherState, receive: CipherState)
        case failed
    }

    static let prologue = Array("twinport tunnel 1".utf8)
    private static let largestRecord = 65_535
    private static let held = 2 * (largestRecord + header)
    /// How much of the session one record carries. Less than it may: a record, its ciphertext and its
    /// plaintext then stay in the processor's cache between the steps.
    private static let share = 16 << 10
    /// Records that leave in one write.
    private static let recordsAtOnce = 8
    private static let outgoingSize =
        recordsAtOnce * (share + CipherState.tagLength + header) + header

    /// How many records one key serves.
    static let recordsPerKey: UInt64 = 65_536

    private let recordsPerKey: UInt64
    private var phase = Phase.greeting
    /// Whether the session read the peer's HELLO.
    private var isAgreed = false
    /// Whether the other end changed its cipher.
    private var hasChanged = false

    /// - Parameter early: What was read of the other end's bytes already: its first message, or nothing.
    init(
        _ inner: any Link, key: TunnelKey, part: Part, early: [UInt8] = [],
        recordsPerKey: UInt64 = NoiseLink.recordsPerKey
    ) {
        self.recordsPerKey = recordsPerKey
        super.init(
            inner, HandshakeState(key: key, prologue: Self.prologue), part: part, early: early,
            capacity: (Self.held, Self.outgoingSize))
    }

    override func agreed(on features: Features) {
        isAgreed = true
        guard case .open(var send, var receive) = phase else { return }
        if features.contains(.rekey) {
            send.rekey(every: recordsPerKey)
            receive.rekey(every: recordsPerKey)
        }
        // What waits in `outgoing` is under the cipher of its time: HELLO, and never as much as fills it.
        if features.isSuperset(of: [.otherCipher, .wantsOtherCipher]),
            (try? send.change(to: .chaChaPoly)) != nil
        {
            queue([])
        }
        phase = .open(send: send, receive: receive)
        flushAndWatch()
    }

    override func greeted(send: CipherState, receive: CipherState) {
        phase = .open(send: send, receive: receive)
        isOpen = true
    }

    override func refuseEarly() { fail() }

    private func fail() {
        phase = .failed
        isOpen = false
    }

    // MARK: Reading

    override func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        var added = 0
        if case .failed = phase { throw .wrongKey }
        while buffer.space >= Self.held, added < buffer.readLimit {
            incoming.compact()
            let count: Int
            do {
                guard let read = try inner.read(into: incoming) else {
                    return added > 0 ? added : nil
                }
                count = read
            } catch {
                // Return the records before the error first: they may contain GOAWAY.
                if added > 0 { return added }
                if error.isConnectionLost, isUnanswered { throw .noAnswer }
                throw error
            }
            // The inner link reports its end again on the next read, also after an error.
            if count == 0 {
                if isUnanswered { throw .noAnswer }
                break
            }
            added += try openRecords(into: buffer)
            if !isAgreed, added > 0 { break }
        }
        return added
    }

    /// Whether this side has shown its key and heard nothing. A responder that has another key hangs up without a word:
    /// the two share no cipher.
    private var isUnanswered: Bool { isGreeting && part == .initiator }

    /// Handles every whole record that is here.
    ///
    /// - Returns: How many bytes it added to `buffer`.
    private func openRecords(into buffer: IOBuffer) throws(LinkError) -> Int {
        var added = 0
        while let record = nextRecord() {
            do {
                added += try open(record, into: buffer)
            } catch {
                fail()
                throw .wrongKey
            }
        }
        return added
    }

    override func nextRecord() -> [UInt8]? {
        let record: [UInt8]? = incoming.withReadable { bytes in
            guard bytes.count >= Self.header else { return nil }
            let length = Int(bytes[0]) << 8 | Int(bytes[1])
            guard bytes.count - Self.header >= length else { return nil }
            return Array(copying: bytes.extracting(Self.header..<Self.header + length))
        }
        if let record { incoming.consume(Self.header + record.count) }
        return record
    }

    /// Handles one record.
    ///
    /// - Returns: How many bytes it added to `buffer`.
    private func open(_ record: [UInt8], into buffer: IOBuffer) throws -> Int {
        if record.isEmpty {
            try otherCipher()
            return 0
        }
        switch phase {
        case .open(let send, var receive):
            let count = try receive.decrypt(record) { plaintext in
                // A record of nothing would be work for us and none for the peer.
                guard plaintext.count > 0, plaintext.count <= buffer.space else {
                    throw NoiseError.malformed
                }
                buffer.append(plaintext)
                return plaintext.count
            }
            phase = .open(send: send, receive: receive)
            return count
        case .greeting:
            try greet(record)
            flushAndWatch()
            return 0
        case .failed:
            throw NoiseError.malformed
        }
    }

    /// The other end's mark came.
    private func otherCipher() throws(NoiseError) {
        guard case .open(let send, var receive) = phase, !hasChanged else { throw .malformed }
        hasChanged = true
        try receive.change(to: .chaChaPoly)
        phase = .open(send: send, receive: receive)
    }

    // MARK: Writing

    override func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        try flush()
        guard outgoing.isEmpty, case .open(var send, let receive) = phase else { return nil }
        var count = 0
        do {
            for _ in 0..<Self.recordsAtOnce where count < bytes.count {
                let end = min(bytes.count, count + Self.share)
                let plaintext = Array(copying: bytes.extracting(count..<end))
                outgoing.append(UInt16(plaintext.count + CipherState.tagLength).byteSwapped)
                try send.encrypt(plaintext) { outgoing.append($0) }
                count = end
            }
        } catch {
            throw .wrongKey
        }
        phase = .open(send: send, receive: receive)
        try flush()
        return count
    }
}
