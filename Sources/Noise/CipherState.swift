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

/// One key and its nonce counter (Noise rev. 34, §5.1).
package struct CipherState: Sendable {
    private var key: SymmetricKey
    private var cipher = Cipher.aesGCM
    private var counter: UInt64 = 0
    /// The key is replaced when none of these bits of the counter is set.
    private var rekeyMask = UInt64.max

    /// How many bytes a ciphertext is longer than its plaintext.
    package static let tagLength = Cipher.tagLength

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

    /// From the next message on another cipher, with the next key, so that no two ciphers share one. The counter goes on.
    package mutating func change(to cipher: Cipher) throws(NoiseError) {
        try rekey()
        self.cipher = cipher
    }

    /// REKEY (§4.2): the next key follows from this one, and this one not from the next: whoever learns a key cannot
    /// read what was sent under those before it. The counter goes on.
    private mutating func rekey() throws(NoiseError) {
        let zeros = [UInt8](repeating: 0, count: 32)
        do {
            var next = try cipher.seal(zeros, key: key, counter: .max, ad: []).ciphertext
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
        let (ciphertext, tag) = try seal(plaintext, ad)
        sealed.append(contentsOf: ciphertext)
        sealed.append(contentsOf: tag)
        return sealed
    }

    /// Encrypts, and hands the ciphertext and then the tag to `body`, without another copy.
    package mutating func encrypt(
        _ plaintext: [UInt8], _ body: (Span<UInt8>) -> Void
    ) throws(NoiseError) {
        let (ciphertext, tag) = try seal(plaintext, [])
        body(ciphertext.span)
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
    ) throws(NoiseError) -> (ciphertext: Data, tag: Data) {
        let nonce = try nextNonce()
        let sealed: (ciphertext: Data, tag: Data)
        do {
            sealed = try cipher.seal(plaintext, key: key, counter: nonce, ad: ad)
        } catch {
            throw .malformed
        }
        if counter & rekeyMask == 0 { try rekey() }
        return sealed
    }

    private mutating func open(
        _ ciphertext: ArraySlice<UInt8>, _ ad: [UInt8]
    ) throws(NoiseError) -> Data {
        guard ciphertext.count >= Self.tagLength else { throw .malformed }
        let nonce = try nextNonce()
        let plaintext: Data
        do {
            plaintext = try cipher.open(ciphertext, key: key, counter: nonce, ad: ad)
        } catch {
            throw .notAuthentic
        }
        if counter & rekeyMask == 0 { try rekey() }
        return plaintext
    }

    private mutating func nextNonce() throws(NoiseError) -> UInt64 {
        guard counter < .max else { throw .exhausted }
        defer { counter += 1 }
        return counter
    }
}
