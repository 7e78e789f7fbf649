internal import Crypto
internal import FoundationEssentials
internal import Posix

/// The handshake's running hash and chaining key (Noise rev. 34, §5.2) with SHA-256.
struct SymmetricState: Sendable {
    /// The length of a public key.
    static let keyLength = 32

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
        var keys = derive(material, 2)
        defer { Self.wipe(&keys) }
        replaceChainingKey(keys[0])
        cipher = CipherState(key: keys[1])
    }

    mutating func mixKeyAndHash(_ material: [UInt8]) {
        var keys = derive(material, 3)
        defer { Self.wipe(&keys) }
        replaceChainingKey(keys[0])
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

    /// `e`, read; with a psk the public key is mixed into the key as well (§9.2).
    ///
    /// - Returns: The public key, and what follows it.
    mutating func readEphemeral(
        _ message: ArraySlice<UInt8>
    ) throws(NoiseError) -> (Curve25519.KeyAgreement.PublicKey, ArraySlice<UInt8>) {
        guard message.count >= Self.keyLength + CipherState.tagLength else { throw .malformed }
        let theirs = Array(message.prefix(Self.keyLength))
        guard let key = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: theirs) else {
            throw .malformed
        }
        mixHash(theirs)
        mixKey(theirs)
        return (key, message.dropFirst(Self.keyLength))
    }

    /// The two keys of the conversation: the initiator's direction first.
    mutating func split() -> (CipherState, CipherState) {
        var keys = derive([], 2)
        defer {
            Self.wipe(&keys)
            Memory.wipe(&chainingKey)
        }
        return (CipherState(key: keys[0]), CipherState(key: keys[1]))
    }

    private mutating func replaceChainingKey(_ new: [UInt8]) {
        Memory.wipe(&chainingKey)
        // A copy of its own: the other one is overwritten.
        chainingKey = new.map { $0 }
    }

    /// Overwrites what was derived: what of it is needed has copies of its own.
    private static func wipe(_ keys: inout [[UInt8]]) {
        for index in keys.indices { Memory.wipe(&keys[index]) }
    }

    /// HKDF as Noise has it (§4.3).
    private func derive(_ material: [UInt8], _ count: Int) -> [[UInt8]] {
        var temporary = Self.hmac(chainingKey, material)
        defer { Memory.wipe(&temporary) }
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
