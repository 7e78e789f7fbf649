internal import Crypto
internal import FoundationEssentials

/// The handshake's running hash and chaining key (Noise rev. 34, §5.2) with SHA-256.
struct SymmetricState: Sendable {
    private var chainingKey: [UInt8]
    private var hash: [UInt8]
    private var cipher: CipherState?

    /// - Parameter name: The protocol's name, at most 32 bytes.
    init(name: String, prologue: [UInt8]) {
        var padded = Array(name.utf8)
        padded += Array(repeating: 0, count: max(0, 32 - padded.count))
        hash = padded
        chainingKey = padded
        mixHash(prologue)
    }

    mutating func mixHash(_ bytes: [UInt8]) {
        hash = Array(SHA256.hash(data: hash + bytes))
    }

    mutating func mixKey(_ material: [UInt8]) {
        let keys = derive(material, 2)
        chainingKey = keys[0]
        cipher = CipherState(key: keys[1])
    }

    mutating func mixKeyAndHash(_ material: [UInt8]) {
        let keys = derive(material, 3)
        chainingKey = keys[0]
        mixHash(keys[1])
        cipher = CipherState(key: keys[2])
    }

    mutating func encryptAndHash(_ plaintext: [UInt8]) throws(NoiseError) -> [UInt8] {
        guard let ciphertext = try cipher?.encrypt(plaintext, ad: hash) else { throw .malformed }
        mixHash(ciphertext)
        return ciphertext
    }

    mutating func decryptAndHash(_ ciphertext: ArraySlice<UInt8>) throws(NoiseError) -> [UInt8] {
        guard let plaintext = try cipher?.decrypt(ciphertext, ad: hash) else { throw .malformed }
        mixHash(Array(ciphertext))
        return plaintext
    }

    /// The two keys of the conversation: the initiator's direction first.
    func split() -> (CipherState, CipherState) {
        let keys = derive([], 2)
        return (CipherState(key: keys[0]), CipherState(key: keys[1]))
    }

    /// HKDF as Noise has it (§4.3).
    private func derive(_ material: [UInt8], _ count: Int) -> [[UInt8]] {
        let temporary = Self.hmac(chainingKey, material)
        var outputs: [[UInt8]] = []
        for index in 1...count {
            outputs.append(Self.hmac(temporary, (outputs.last ?? []) + [UInt8(index)]))
        }
        return outputs
    }

    private static func hmac(_ key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
    }
}
