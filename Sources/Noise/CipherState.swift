internal import Crypto
internal import FoundationEssentials

/// What is wrong with a peer's handshake or record. Deliberately without detail: which byte was wrong is
/// nobody's business.
package enum NoiseError: Error, Equatable, Sendable {
    /// A message is shorter than it can be, or longer than 65,535 bytes.
    case malformed
    /// Authentication failed: another key, or bytes that were changed on the way.
    case notAuthentic
    /// The nonces of this key are used up (2^64-1 messages).
    case exhausted
}

/// One key and its nonce counter (Noise rev. 34, §5.1) with AES-256-GCM (§12.3: 32 zero bits, then the counter
/// in big-endian order).
package struct CipherState: Sendable {
    private var key: SymmetricKey
    private var counter: UInt64 = 0
    /// The key is replaced when none of these bits of the counter is set.
    private var rekeyMask = UInt64.max

    /// How many bytes a ciphertext is longer than its plaintext.
    package static let tagLength = 16

    init(key: [UInt8]) {
        self.key = SymmetricKey(data: key)
    }

    /// From now on the key is replaced after every so many messages, counted from the first.
    ///
    /// - Parameter messages: A power of two.
    package mutating func rekey(every messages: UInt64) {
        precondition(messages.nonzeroBitCount == 1)
        rekeyMask = messages - 1
    }

    /// REKEY (§4.2): the next key follows from this one, and this one not from the next: whoever learns a key cannot
    /// read what was sent under those before it. The counter goes on.
    private mutating func rekey() throws(NoiseError) {
        do {
            var next = try AES.GCM.seal(
                [UInt8](repeating: 0, count: 32), using: key, nonce: Self.nonce(.max)
            ).ciphertext
            key = SymmetricKey(data: next)
            next.resetBytes(in: 0..<next.count)
        } catch {
            throw .malformed
        }
    }

    /// Encrypts; the tag is at the end.
    ///
    /// - Parameter ad: Bytes that are authenticated along and not sent.
    package mutating func encrypt(
        _ plaintext: [UInt8], ad: [UInt8] = []
    ) throws(NoiseError) -> [UInt8] {
        var sealed: [UInt8] = []
        sealed.reserveCapacity(plaintext.count + Self.tagLength)
        let box = try seal(plaintext, ad)
        sealed.append(contentsOf: box.ciphertext)
        sealed.append(contentsOf: box.tag)
        return sealed
    }

    /// Encrypts, and hands the ciphertext and then the tag to `body`, without another copy.
    package mutating func encrypt(
        _ plaintext: [UInt8], _ body: (Span<UInt8>) -> Void
    ) throws(NoiseError) {
        let box = try seal(plaintext, [])
        let ciphertext = box.ciphertext
        body(ciphertext.span)
        let tag = box.tag
        body(tag.span)
    }

    /// Checks and decrypts. A failure is final: the connection must end.
    package mutating func decrypt(
        _ ciphertext: ArraySlice<UInt8>, ad: [UInt8] = []
    ) throws(NoiseError) -> [UInt8] {
        Array(try open(ciphertext, ad))
    }

    /// Checks, decrypts, and hands the plaintext to `body`, without another copy.
    package mutating func decrypt<Result, Failure: Error>(
        _ ciphertext: [UInt8], _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws -> Result {
        let plaintext = try open(ciphertext[...], [])
        return try body(plaintext.span)
    }

    private mutating func seal(
        _ plaintext: [UInt8], _ ad: [UInt8]
    ) throws(NoiseError) -> AES.GCM.SealedBox {
        let nonce = try nextNonce()
        let box: AES.GCM.SealedBox
        do {
            box = try AES.GCM.seal(plaintext, using: key, nonce: nonce, authenticating: ad)
        } catch {
            throw .malformed
        }
        if counter & rekeyMask == 0 { try rekey() }
        return box
    }

    private mutating func open(
        _ ciphertext: ArraySlice<UInt8>, _ ad: [UInt8]
    ) throws(NoiseError) -> Data {
        guard ciphertext.count >= Self.tagLength else { throw .malformed }
        let nonce = try nextNonce()
        let plaintext: Data
        do {
            let box = try AES.GCM.SealedBox(
                nonce: nonce, ciphertext: ciphertext.dropLast(Self.tagLength),
                tag: ciphertext.suffix(Self.tagLength))
            plaintext = try AES.GCM.open(box, using: key, authenticating: ad)
        } catch {
            throw .notAuthentic
        }
        if counter & rekeyMask == 0 { try rekey() }
        return plaintext
    }

    private mutating func nextNonce() throws(NoiseError) -> AES.GCM.Nonce {
        guard counter < .max else { throw .exhausted }
        defer { counter += 1 }
        do {
            return try Self.nonce(counter)
        } catch {
            throw .malformed
        }
    }

    private static func nonce(_ counter: UInt64) throws -> AES.GCM.Nonce {
        var bytes = [UInt8](repeating: 0, count: 12)
        for index in 0..<8 {
            bytes[4 + index] = UInt8(truncatingIfNeeded: counter >> (56 - 8 * index))
        }
        return try AES.GCM.Nonce(data: bytes)
    }
}
