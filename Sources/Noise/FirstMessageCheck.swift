/// Tells whether the first message of a handshake was made with the key, at a fraction of what answering it costs:
/// there is no key agreement in it. A message that was recorded and is sent again passes.
package struct FirstMessageCheck: Sendable {
    private let beginning: SymmetricState

    /// Prepares to check messages made with `key` for this purpose.
    package init(key: TunnelKey, prologue: [UInt8]) {
        var state = SymmetricState(name: HandshakeState.name, prologue: prologue)
        state.mixKeyAndHash(key.bytes)
        beginning = state
    }

    /// Whether the message, without a payload, was made with the key.
    package func accepts(_ message: ArraySlice<UInt8>) -> Bool {
        guard message.count == HandshakeState.messageLength else { return false }
        var state = beginning
        guard let (_, rest) = try? state.readEphemeral(message) else { return false }
        return (try? state.decryptAndHash(rest)) != nil
    }
}
