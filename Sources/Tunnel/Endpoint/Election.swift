internal import Wire

// Which session is the live one.
//
// A newcomer becomes live when there is no live session. If there is one, it matters whose it is
// (``SessionOwner``). A stranger is turned away (GOAWAY busy), and the live session never hears of it: it keeps all
// of its patience. Its owner, that is who proves the same key or is the same run of a program, becomes a
// candidate: the live session is asked for a sign of life, and when it answers within a second the candidate is turned
// away. Otherwise it is dead and the candidate takes its place. Until that is decided our HELLO is held back, so
// the newcomer sends nothing yet that could be lost. So a newcomer can never displace a working session, and a
// guest with the key that rebooted without closing its connection is back within a second. The live session is
// asked once a second at most, however many newcomers there are: more, and the peer would have to end it for our PINGs.

/// The live session, and the newcomer that waits for its place. Pure but for what it holds.
struct Election {
    /// A session whose HELLO came while another one was live.
    struct Candidate {
        let handshake: Handshake
        let hello: Hello
    }

    /// What the live session's answer, or its silence, means for the candidate.
    enum Verdict {
        case undecided
        /// The live session is alive: turn the candidate away.
        case keep
        /// It did not answer: end it.
        case replace
    }

    private static let answerWithin: UInt64 = 1_000

    private(set) var live: Session?
    private(set) var owner: SessionOwner?
    private var liveSince: UInt64 = 0
    private(set) var candidate: Candidate?
    /// When the live session was last asked for a sign of life: it is alive when it has been heard since.
    private var askedAt: UInt64?

    /// A session takes the place, which must be empty.
    mutating func elect(_ session: Session, of owner: SessionOwner, now: UInt64) {
        live = session
        self.owner = owner
        liveSince = now
        askedAt = nil
    }

    /// The live session is over.
    ///
    /// - Returns: For how many milliseconds it was live.
    mutating func vacate(now: UInt64) -> UInt64 {
        live = nil
        owner = nil
        return now &- liveSince
    }

    /// Whether a newcomer may wait for the live session's place.
    func mayWait(_ newcomer: SessionOwner) -> Bool {
        // The embedder knows what it does.
        if newcomer.origin == .embedder { return true }
        return owner?.isSame(as: newcomer) ?? true
    }

    /// A newcomer waits.
    ///
    /// - Returns: Whether the live session is to be asked for a sign of life now.
    mutating func nominate(_ newcomer: Candidate, now: UInt64) -> Bool {
        candidate = newcomer
        if let askedAt, now < askedAt + Self.answerWithin { return false }
        askedAt = now
        return true
    }

    /// Takes the candidate out.
    mutating func takeCandidate() -> Candidate? {
        defer { candidate = nil }
        return candidate
    }

    /// Forgets the candidate if it is this one.
    mutating func forget(_ handshake: Handshake) {
        if candidate?.handshake === handshake { candidate = nil }
    }

    /// Decides between the live session and the candidate.
    func verdict(now: UInt64) -> Verdict {
        guard candidate != nil, let live, let askedAt else { return .undecided }
        if live.lastHeard >= askedAt { return .keep }
        return now >= askedAt + Self.answerWithin ? .replace : .undecided
    }
}
