internal import Crypto
internal import FoundationEssentials

/// What is wrong with a peer's handshake or record. Deliberately without detail: which byte was wrong is
/// nobody's business.
public enum NoiseError: Error, Equatable, Sendable {
    /// A message is shorter than it can be, or longer than 65,535 bytes.
    case malformed
    /// Authentication failed: another key, or bytes that were changed on the way.
    case notAuthentic
    /// The nonces of this key are used up (2^64-1 messages).
    case exhausted
}

/// One key and its nonce counter (Noise rev. 34, §5.1) with AES-256-GCM (§12.3: 32 zero bits, then the counter
/// in big-endian order).
public struct CipherState: Sendable {
    private let key: SymmetricKey
    private var counter: UInt64 = 0

    /// How many bytes a ciphertext is longer than its plaintext.
    public static let tagLength = 16

    init(key: [UInt8]) {
        self.key = SymmetricKey(data: key)
    }

    /// Encrypts; the tag is at the end.
    ///
    /// - Parameter ad: Bytes that are authenticated along and not sent.
    public mutating func encrypt(
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
    public mutating func encrypt(
        _ plaintext: [UInt8], _ body: (Span<UInt8>) -> Void
    ) throws(NoiseError) {
        let box = try seal(plaintext, [])
        let ciphertext = box.ciphertext
        body(ciphertext.span)
        let tag = box.tag
        body(tag.span)
    }

    /// Checks and decrypts. A failure is final: the connection must end.
    public mutating func decrypt(
        _ ciphertext: ArraySlice<UInt8>, ad: [UInt8] = []
    ) throws(NoiseError) -> [UInt8] {
        Array(try open(ciphertext, ad))
    }

    /// Checks, decrypts, and hands the plaintext to `body`, without another copy.
    public mutating func decrypt<Result, Failure: Error>(
        _ ciphertext: [UInt8], _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws -> Result {
        let plaintext = try open(ciphertext[...], [])
        return try body(plaintext.span)
    }

    private mutating func seal(
        _ plaintext: [UInt8], _ ad: [UInt8]
    ) throws(NoiseError) -> AES.GCM.SealedBox {
        let nonce = try nextNonce()
        do {
            return try AES.GCM.seal(plaintext, using: key, nonce: nonce, authenticating: ad)
        } catch {
            throw .malformed
        }
    }

    private mutating func open(
        _ ciphertext: ArraySlice<UInt8>, _ ad: [UInt8]
    ) throws(NoiseError) -> Data {
        guard ciphertext.count >= Self.tagLength else { throw .malformed }
        let nonce = try nextNonce()
        do {
            let box = try AES.GCM.SealedBox(
                nonce: nonce, ciphertext: ciphertext.dropLast(Self.tagLength),
                tag: ciphertext.suffix(Self.tagLength))
            return try AES.GCM.open(box, using: key, authenticating: ad)
        } catch {
            throw .notAuthentic
        }
    }

    private mutating func nextNonce() throws(NoiseError) -> AES.GCM.Nonce {
        guard counter < .max else { throw .exhausted }
        var bytes = [UInt8](repeating: 0, count: 12)
        for index in 0..<8 {
            bytes[4 + index] = UInt8(truncatingIfNeeded: counter >> (56 - 8 * index))
        }
        counter += 1
        do {
            return try AES.GCM.Nonce(data: bytes)
        } catch {
            throw .malformed
        }
    }
}
