internal import Crypto
internal import FoundationEssentials
internal import Posix

// # The handshake
//
// Noise_NNpsk0_25519_AESGCM_SHA256 (Noise rev. 34, §7.4 and §9): both ends hold the same 32-byte key, and each
// brings a fresh pair of its own, so that a recorded conversation stays closed when the key leaks later.
//
//     initiator → responder    psk, e        48 bytes without a payload
//     responder → initiator    e, ee         48 bytes
//
// A side without the key fails at the first message that it is to answer: the initiator's payload is encrypted
// under the psk, the responder's under psk and both pairs. A replayed first message gets an answer nobody
// can use, because the responder's pair is new; a first message sent back to its author does not decrypt,
// because the transcript differs.

/// The two messages that begin an encrypted conversation. A value; drives no I/O.
package struct HandshakeState: Sendable {
    /// The protocol's name as Noise spells it.
    package static let name = "Noise_NNpsk0_25519_AESGCM_SHA256"
    /// The length of either message without a payload.
    package static let messageLength = SymmetricState.keyLength + CipherState.tagLength

    private var state: SymmetricState
    private let ephemeral: Curve25519.KeyAgreement.PrivateKey

    /// Begins with the key both ends hold, and a fresh pair.
    package init(key: TunnelKey, prologue: [UInt8]) {
        self.init(key: key.bytes, prologue: prologue, ephemeral: .init())
    }

    init(key: [UInt8], prologue: [UInt8], ephemeral: Curve25519.KeyAgreement.PrivateKey) {
        self.ephemeral = ephemeral
        state = SymmetricState(name: Self.name, prologue: prologue)
        state.mixKeyAndHash(key)
    }

    /// Fixes the pair, for published test vectors.
    init(key: [UInt8], prologue: [UInt8], fixedEphemeral: [UInt8]) throws {
        self.init(
            key: key, prologue: prologue, ephemeral: try .init(rawRepresentation: fixedEphemeral))
    }

    // MARK: Initiator

    /// The first message.
    package mutating func writeFirst(_ payload: [UInt8] = []) throws(NoiseError) -> [UInt8] {
        writeEphemeral() + (try state.encryptAndHash(payload))
    }

    /// Reads the answer.
    ///
    /// - Returns: The keys: what this side sends with, and what it receives with.
    package mutating func readSecond(
        _ message: ArraySlice<UInt8>
    ) throws(NoiseError) -> (send: CipherState, receive: CipherState, payload: [UInt8]) {
        let (theirs, rest) = try state.readEphemeral(message)
        try mixSharedSecret(theirs)
        let payload = try state.decryptAndHash(rest)
        let keys = state.split()
        return (keys.0, keys.1, payload)
    }

    // MARK: Responder

    /// Reads the first message and answers it.
    ///
    /// - Returns: The answer, and the keys: what this side sends with, and what it receives with.
    package mutating func answer(
        _ message: ArraySlice<UInt8>, payload: [UInt8] = []
    ) throws(NoiseError) -> (
        answer: [UInt8], send: CipherState, receive: CipherState, payload: [UInt8]
    ) {
        let (theirs, rest) = try state.readEphemeral(message)
        let received = try state.decryptAndHash(rest)
        var answer = writeEphemeral()
        try mixSharedSecret(theirs)
        answer += try state.encryptAndHash(payload)
        let keys = state.split()
        return (answer, keys.1, keys.0, received)
    }

    // MARK: Tokens

    /// `e`, written; with a psk the public key is mixed into the key as well (§9.2).
    private mutating func writeEphemeral() -> [UInt8] {
        let ours = Array(ephemeral.publicKey.rawRepresentation)
        state.mixHash(ours)
        state.mixKey(ours)
        return ours
    }

    /// `ee`. A public key of small order has no shared secret and is refused.
    private mutating func mixSharedSecret(
        _ theirs: Curve25519.KeyAgreement.PublicKey
    ) throws(NoiseError) {
        guard let secret = try? ephemeral.sharedSecretFromKeyAgreement(with: theirs) else {
            throw .malformed
        }
        var bytes = unsafe secret.withUnsafeBytes { unsafe Array($0) }
        defer { Memory.wipe(&bytes) }
        state.mixKey(bytes)
    }
}
