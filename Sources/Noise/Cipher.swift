internal import Crypto
internal import FoundationEssentials

/// What messages are encrypted with (Noise rev. 34, §12.2 and §12.3). Keys of 32 bytes and tags of 16 have both.
package enum Cipher: Sendable {
    /// AES-256-GCM. Quick where the processor has instructions for it, and slow without.
    case aesGCM
    /// ChaCha20 and Poly1305, which need no such instructions.
    case chaChaPoly

    static let tagLength = 16

    /// - Parameter counter: The nonce.
    /// - Throws: What the library says.
    func seal(
        _ plaintext: [UInt8], key: SymmetricKey, counter: UInt64, ad: [UInt8]
    ) throws -> (ciphertext: Data, tag: Data) {
        switch self {
        case .aesGCM:
            let nonce = try AES.GCM.Nonce(data: Self.nonce(counter.bigEndian))
            let box = try AES.GCM.seal(plaintext, using: key, nonce: nonce, authenticating: ad)
            return (box.ciphertext, box.tag)
        case .chaChaPoly:
            let nonce = try ChaChaPoly.Nonce(data: Self.nonce(counter.littleEndian))
            let box = try ChaChaPoly.seal(plaintext, using: key, nonce: nonce, authenticating: ad)
            return (box.ciphertext, box.tag)
        }
    }

    /// - Parameter message: The ciphertext, and the tag behind it.
    /// - Throws: What the library says.
    func open(
        _ message: ArraySlice<UInt8>, key: SymmetricKey, counter: UInt64, ad: [UInt8]
    ) throws -> Data {
        let ciphertext = message.dropLast(Self.tagLength)
        let tag = message.suffix(Self.tagLength)
        switch self {
        case .aesGCM:
            let nonce = try AES.GCM.Nonce(data: Self.nonce(counter.bigEndian))
            let box = try AES.GCM.SealedBox(nonce: nonce, ciphertext: ciphertext, tag: tag)
            return try AES.GCM.open(box, using: key, authenticating: ad)
        case .chaChaPoly:
            let nonce = try ChaChaPoly.Nonce(data: Self.nonce(counter.littleEndian))
            let box = try ChaChaPoly.SealedBox(nonce: nonce, ciphertext: ciphertext, tag: tag)
            return try ChaChaPoly.open(box, using: key, authenticating: ad)
        }
    }

    /// 32 zero bits, then the counter as it lies in memory.
    private static func nonce(_ counter: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 12)
        for index in 0..<8 {
            // In memory the least byte comes first where the machine is little-endian.
            bytes[4 + index] = UInt8(
                truncatingIfNeeded: UInt64(littleEndian: counter) >> (8 * index))
        }
        return bytes
    }
}

extension Cipher {
    /// What this machine encrypts 16 KiB with in less time: tried once, in a millisecond, or in ten where AES is slow.
    ///
    /// Tried and not looked up: an emulated processor claims instructions that are slower than none.
    package static let quicker: Cipher = {
        let aes = leastTime(of: .aesGCM)
        // Both are as good, so a small difference changes nothing.
        return leastTime(of: .chaChaPoly) * 5 < aes * 4 ? .chaChaPoly : .aesGCM
    }()

    private static func leastTime(of cipher: Cipher) -> Duration {
        let key = SymmetricKey(size: .bits256)
        let plaintext = [UInt8](repeating: 0, count: 16_384)
        var least = Duration.seconds(1)
        for counter in UInt64(0)..<4 {
            let start = ContinuousClock.now
            _ = try? cipher.seal(plaintext, key: key, counter: counter, ad: [])
            least = min(least, ContinuousClock.now - start)
        }
        return least
    }
}
