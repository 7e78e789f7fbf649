internal import Wire

/// What all streams of a session may make us hold together. Pure.
struct ReceiveBudget: Equatable {
    /// What a peer may send on a stream that it opens before it hears of it again.
    static let initialWindow = PeerLimits.initialWindow
    /// How many bytes windows may grow beyond their initial size, together.
    static let growth: UInt64 = 12 << 20
    /// What first windows of streams that we open share.
    static let offers: UInt64 = 8 << 20
    /// How many received bytes may wait for applications, together. When they are more, the streams that hold
    /// most are reset: a peer can otherwise fill the initial windows of 65,535 streams, which is 2 GiB.
    static let maxHeld = growth + offers

    /// The size of the growth budget in bytes.
    private let total: UInt64
    /// The bytes of ``total`` that no window has reserved.
    private(set) var growth: UInt64
    /// The number of windows that have reserved growth.
    private(set) var grown: UInt64 = 0
    /// The bytes that first windows have taken of ``offers``; more, when so many streams get the least each.
    fileprivate(set) var offered: UInt64 = 0
    fileprivate(set) var held: UInt64 = 0

    init(growth: UInt64 = Self.growth) {
        total = growth
        self.growth = growth
    }

    /// The first window of one more stream of ours: an eighth of what is left for them, 32 to 256 KiB. The peer
    /// answers at once with that much, which is most of what is fetched from listeners.
    mutating func offer() -> UInt32 {
        let left = Self.offers - min(Self.offers, offered)
        let window = min(262_144, max(UInt64(Self.initialWindow), left / 8))
        offered += window
        return UInt32(window)
    }

    /// How large a window may be that is in use: an even part of the growth for each that has grown, and for
    /// one more that would like to. The same for all, however small or large they began.
    var share: UInt64 { UInt64(Self.initialWindow) + total / (max(grown, 1) + 1) }

    /// Changes what a window has from `old` to `new` bytes; there is as much.
    fileprivate mutating func exchange(_ old: UInt64, for new: UInt64) {
        growth = growth + old - new
        if old == 0, new > 0 { grown += 1 }
        if old > 0, new == 0 { grown -= 1 }
    }
}

/// How much the peer may send on one stream. Pure.
///
/// Credit is an absolute offset, counted from the stream's first byte, so a repeated or late grant does
/// no harm. It is returned when the kernel on our side *accepted* the bytes, a quarter of the window at
/// a time, half of a small one. After a second without traffic it is back at its initial size.
///
/// The window doubles while it is what holds the peer back: the peer's bytes stop exactly at a limit it was
/// told (a frame is cut by credit only there), and we had drained all of them when they did. A limit told
/// meanwhile may still be under way, so it is not the latest that counts but the one that was the latest when
/// the mark before was reached; that makes one doubling a round trip at most, however long the tunnel is.
///
/// Growth draws on a byte budget that all streams of a session share, evenly: the more windows have grown, the
/// less each may (half of it when it is the only one), and one that has more gives it up as its credit is
/// used. What a window took goes back when the *credit* is used up, not when the window shrinks: credit once
/// given stays given, and a peer that hoards it on one stream after the other must not get more than the
/// budget has.
struct ReceiveWindow: Equatable {
    private static let idleAfter: UInt64 = 1_000
    /// A grant of less is not worth a frame, but for half a window.
    private static let worthwhile: UInt64 = 16_384

    /// What became of bytes that arrived.
    enum Verdict: Equatable {
        case fine
        /// The credit did not cover them.
        case beyondCredit
    }

    private let initial: UInt64
    private let isOffered: Bool
    private var size: UInt64
    /// What of the shared budget this window has, with the initial size in it.
    private var reserved: UInt64
    private(set) var received: UInt64 = 0
    private var consumed: UInt64 = 0
    private(set) var granted: UInt64
    /// The limit whose reaching is watched for, and whether the last bytes ended exactly there.
    private var mark: UInt64
    private var stoppedAtMark = false
    private(set) var lastConsumed: UInt64
    private var stage = Stage.open

    private enum Stage {
        case open
        /// The peer sends no more: no credit is given, what is held still counts.
        case retired
        /// Nothing counts any more.
        case released
    }

    /// - Parameter isOffered: Whether `initial` came from ``ReceiveBudget/offer()``, and goes back there.
    init(initial: UInt32, isOffered: Bool = false, now: UInt64) {
        self.initial = UInt64(initial)
        self.isOffered = isOffered
        size = self.initial
        reserved = self.initial
        granted = self.initial
        mark = self.initial
        lastConsumed = now
    }

    /// Bytes that arrived and were not consumed yet.
    var held: UInt64 { received - consumed }

    /// Counts bytes that arrived.
    mutating func receive(_ count: Int, _ budget: inout ReceiveBudget) -> Verdict {
        let (sum, overflow) = received.addingReportingOverflow(UInt64(count))
        guard !overflow, sum <= granted else { return .beyondCredit }
        received = sum
        guard stage != .released else { return .fine }
        stoppedAtMark = sum == mark
        budget.held += UInt64(count)
        return .fine
    }

    /// Counts bytes that the kernel accepted.
    ///
    /// - Returns: The new limit to tell the peer, nil while it is not worth a frame.
    mutating func consume(_ count: Int, _ budget: inout ReceiveBudget, now: UInt64) -> UInt64? {
        let taken = min(held, UInt64(count))
        consumed += taken
        if stage != .released { budget.held -= taken }
        let idle = now &- lastConsumed
        lastConsumed = now
        guard stage == .open else { return nil }
        if idle >= Self.idleAfter { size = initial }
        if stoppedAtMark, consumed == received {
            stoppedAtMark = false
            grow(&budget)
        }
        size = min(size, budget.share)
        giveBack(&budget)
        defer { if mark <= received { mark = granted } }
        let limit = consumed + size
        let step = max(size / 4, min(size / 2, Self.worthwhile))
        guard limit > granted, limit - granted >= step else { return nil }
        granted = limit
        return limit
    }

    /// Gives everything back to the budget: what was held is gone, what still comes is dropped.
    mutating func release(_ budget: inout ReceiveBudget) {
        guard stage != .released else { return }
        retire(&budget)
        stage = .released
        budget.held -= held
    }

    /// Gives back what was for bytes to come: there will be none. What is held is held until it is consumed.
    mutating func retire(_ budget: inout ReceiveBudget) {
        guard stage == .open else { return }
        stage = .retired
        if isOffered { budget.offered -= initial }
        reserve(initial, &budget)
        size = initial
    }

    private mutating func grow(_ budget: inout ReceiveBudget) {
        // Half of what is left at most: idle connections keep what they have, and there is always more.
        let larger = min(2 * size, budget.share, reserved + budget.growth / 2)
        guard larger > size else { return }
        size = larger
        if size > reserved { reserve(size, &budget) }
    }

    private mutating func giveBack(_ budget: inout ReceiveBudget) {
        let needed = max(initial, size, granted - consumed)
        if needed < reserved { reserve(needed, &budget) }
    }

    private mutating func reserve(_ bytes: UInt64, _ budget: inout ReceiveBudget) {
        budget.exchange(reserved - initial, for: bytes - initial)
        reserved = bytes
    }
}
