internal import Wire

/// What a peer may ask for, and how often. Past any of these the session ends with GOAWAY(calm).
///
/// Bursts are far above what a well-behaved peer does: 8,192 listeners may appear, vanish and appear
/// again at once; a new flow per accepted connection stays below 20,000 a second.
struct Rates {
    private var opens: TokenBucket
    private var listeners: TokenBucket
    private var session: TokenBucket
    private var useless: TokenBucket

    init(now: UInt64) {
        opens = TokenBucket(burst: 65_536, perSecond: 20_000, now: now)
        listeners = TokenBucket(burst: 40_000, perSecond: 512, now: now)
        session = TokenBucket(burst: 100, perSecond: 20, now: now)
        useless = TokenBucket(burst: 20_000, perSecond: 20_000, now: now)
    }

    /// OPEN.
    mutating func open(now: UInt64) throws(SessionEnd) {
        if !opens.take(now: now) { throw SessionEnd(.calm, "more than 20,000 OPEN a second") }
    }

    /// LISTENER, LISTENER_GONE and MIRROR.
    mutating func listener(now: UInt64) throws(SessionEnd) {
        if !listeners.take(now: now) {
            throw SessionEnd(.calm, "more than 512 listener changes a second")
        }
    }

    /// PING, PONG, SYNC, POLICY.
    mutating func session(now: UInt64) throws(SessionEnd) {
        if !session.take(now: now) {
            throw SessionEnd(.calm, "more than 20 session frames a second")
        }
    }

    /// Frames that change nothing: late ones, WINDOW that grants nothing.
    mutating func useless(now: UInt64) throws(SessionEnd) {
        if !useless.take(now: now) {
            throw SessionEnd(.calm, "more than 20,000 frames a second without effect")
        }
    }
}
