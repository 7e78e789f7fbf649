package import Wire

/// Why a session ended.
package struct SessionEnd: Error, Equatable, Sendable, CustomStringConvertible {
    /// The class of reason.
    package let code: GoAwayCode
    /// In words.
    package let reason: String
    /// Whether the peer said so.
    package let isByPeer: Bool

    /// Describes an end.
    package init(_ code: GoAwayCode, _ reason: String, isByPeer: Bool = false) {
        self.code = code
        self.reason = reason
        self.isByPeer = isByPeer
    }

    /// The peer's connection ended without a word.
    static let closedByPeer = SessionEnd(
        .other, "the other end closed the tunnel", isByPeer: true)

    /// What answers at the tunnel's address is another program, and what to do.
    static let notTwinport =
        "what answers there is not Twinport; expected twinport or twinport-agent: check the tunnel's address"
    /// The same for what says nothing.
    static let noGreeting =
        "no greeting within 5 s; expected twinport or twinport-agent at the other end: check the tunnel's address"
    /// What to do about what only another version can have sent.
    static let sameVersion = "install matching versions of twinport and twinport-agent"

    /// In words of ours, with the peer's in quotes: anything that reaches the tunnel can say anything.
    var attributed: String {
        isByPeer && self != Self.closedByPeer ? "it says \"\(reason)\"" : reason
    }

    /// One line for logs and status.
    package var description: String { isByPeer ? "peer: \(reason)" : reason }
}

extension SessionEnd {
    /// Says why the link can be read no further.
    init(link error: LinkError) {
        switch error {
        case .noProof, .otherKey, .noAnswer: self.init(.notAllowed, error.description)
        default: self.init(.other, "the tunnel broke: \(error)")
        }
    }

    /// Says what was wrong with the peer's bytes.
    init(wire error: WireError, hasReceivedHello: Bool) {
        // A proof's first record begins with its length, below 256 in big-endian order.
        if !hasReceivedHello, error == .unknownType(0) {
            self.init(
                .notAllowed,
                "the other end asks for a key and this side has none: \(LinkError.bothNeedIt)")
            return
        }
        let isOther = !hasReceivedHello && error.isForeign
        self.init(
            .protocolError,
            isOther
                ? Self.notTwinport
                : "the other end sent something that this version cannot read (\(error)): \(Self.sameVersion)"
        )
    }

    /// Says which rule of docs/protocol.md, "Streams", a frame broke.
    init(_ violation: StreamState.Violation, by type: FrameType) {
        let what =
            switch violation {
            case .afterEnd: "\(type) after the stream's end"
            case .fromOpener: "\(type) from the opener"
            case .answeredTwice: "\(type) after OPENED"
            case .wrongTransport: "\(type) on a stream of the other protocol"
            }
        self.init(.protocolError, what)
    }
}
