/// Limits how often a broad mirror whose bind failed may close narrower mirrors and try again. Closing a narrower UDP
/// mirror ends its flows, closing a TCP mirror interrupts its accepting, and no scan may show the socket that blocks the
/// bind. Times are milliseconds. Pure.
struct RebindBackoff {
    private static let (first, longest) = (UInt64(2_000), UInt64(256_000))
    private var gap = Self.first
    private var notBefore: UInt64 = 0
    /// The local socket that the last failed bind met.
    var blocked: Blocked?

    /// A local socket in the way.
    struct Blocked {
        let inode: UInt64
        /// Until when it is believed to be in the way while it is listed, in milliseconds.
        let until: UInt64
    }

    /// A bind that failed is not tried again for so long, in milliseconds: a peer can have its port settled a thousand
    /// times a second.
    private static let pause: UInt64 = 1_000
    private var failedAt: UInt64?

    /// A search for a free port that found none is not repeated for so long, in milliseconds.
    private static let searchPause: UInt64 = 60_000
    private var searchAgainAt: UInt64 = 0
    /// The port where a search that is not at its end goes on; 0 for one that begins.
    var searched = 0

    /// Whether a bind may be tried at `now`.
    func mayTry(_ now: UInt64) -> Bool {
        failedAt.map { now >= $0 &+ Self.pause } ?? true
    }

    /// Whether a free port may be searched for at `now`.
    func maySearch(_ now: UInt64) -> Bool { now >= searchAgainAt }

    /// Records a search that found no free port.
    mutating func searchFailed(_ now: UInt64) {
        failed(now, closedOthers: false)
        searched = 0
        searchAgainAt = now &+ Self.searchPause
    }

    /// It is time for another try.
    mutating func endPause() { failedAt = nil }

    /// Whether an attempt may be made at `now` that closes narrower mirrors.
    func allows(_ now: UInt64) -> Bool { now >= notBefore }

    /// Records a failed attempt. The gap doubles only if the attempt closed narrower mirrors.
    mutating func failed(_ now: UInt64, closedOthers: Bool) {
        notBefore = now &+ gap
        failedAt = now
        if closedOthers { gap = min(Self.longest, gap * 2) }
    }
}
