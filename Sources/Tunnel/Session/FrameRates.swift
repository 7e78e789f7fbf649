internal import Wire

/// What a peer may ask for, and how often. Past any of these the session ends with GOAWAY(calm).
///
/// Bursts are far above what a well-behaved peer does: 8,192 listeners may appear, vanish and appear
/// again at once; a new flow per accepted connection stays below 20,000 a second.
struct FrameRates {
    private var opens: TokenBucket
    private var listeners: TokenBucket
    private var session: TokenBucket
    private var useless: TokenBucket
    /// More than the listeners that a peer may have advertised at a time.
    private static let maxPaidGone: UInt64 = 40_000
    /// How many LISTENER_GONE the LISTENERs so far have paid for.
    private var paidGone: UInt64 = 0

    init(now: UInt64) {
        opens = TokenBucket(burst: 65_536, perSecond: 20_000, now: now)
        listeners = TokenBucket(burst: 40_000, perSecond: 512, now: now)
        session = TokenBucket(burst: 100, perSecond: 20, now: now)
        useless = TokenBucket(burst: 20_000, perSecond: 20_000, now: now)
    }

    /// What a frame counts as.
    enum Kind {
        case open, session, useless
        case listener(FrameType)
    }

    /// Counts one frame.
    ///
    /// - Throws: ``SessionEnd`` when it is one too many.
    mutating func count(_ kind: Kind, now: UInt64) throws(SessionEnd) {
        switch kind {
        case .open: try open(now: now)
        case .session: try session(now: now)
        case .useless: try useless(now: now)
        case .listener(let type): try listener(type, now: now)
        }
    }

    /// OPEN.
    private mutating func open(now: UInt64) throws(SessionEnd) {
        if !opens.take(now: now) { throw SessionEnd(.calm, "more than 20,000 OPEN a second") }
    }

    /// LISTENER, ODD_SOCKET, LISTENER_GONE and MIRROR. Each of the first two pays for one LISTENER_GONE: what closes a
    /// mirror costs no more than what opened it, and a peer that is out of tokens must still be able to give ports back.
    private mutating func listener(_ type: FrameType, now: UInt64) throws(SessionEnd) {
        if type == .listenerGone, paidGone > 0 {
            paidGone -= 1
            return
        }
        if type == .listener || type == .oddSocket || type == .placedListener {
            paidGone = min(paidGone + 1, Self.maxPaidGone)
        }
        if !listeners.take(now: now) {
            throw SessionEnd(.calm, "more than 512 listener changes a second")
        }
    }

    /// PING, PONG, SYNC, POLICY.
    private mutating func session(now: UInt64) throws(SessionEnd) {
        if !session.take(now: now) {
            throw SessionEnd(.calm, "more than 20 session frames a second")
        }
    }

    /// Frames that change nothing: late ones, WINDOW that grants nothing.
    private mutating func useless(now: UInt64) throws(SessionEnd) {
        if !useless.take(now: now) {
            throw SessionEnd(.calm, "more than 20,000 frames a second without effect")
        }
    }
}
