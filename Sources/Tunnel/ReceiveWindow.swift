/// What all streams of a session may make us hold together. Pure.
struct ReceiveBudget: Equatable {
    /// How many bytes windows may grow beyond their initial size, together.
    static let growth: UInt64 = 256 << 20
    /// How many received bytes may wait for applications, together. The stream whose bytes go past it is
    /// reset: a peer can otherwise fill the initial windows of 65,535 streams, which is 16 GiB.
    static let maxHeld: UInt64 = 256 << 20

    fileprivate(set) var growth: UInt64
    fileprivate(set) var held: UInt64 = 0

    init(growth: UInt64 = Self.growth) {
        self.growth = growth
    }

    /// The initial window to offer on one more stream of ours beside `count` others: all of them
    /// together then stay within half of ``maxHeld``, down to 16 KiB each.
    static func window(besides count: Int, atMost largest: UInt32) -> UInt32 {
        let share = max(16_384, maxHeld / 2 / UInt64(count + 1))
        return UInt32(min(UInt64(largest), share))
    }
}

/// How much the peer may send on one stream. Pure.
///
/// Credit is an absolute offset, counted from the stream's first byte, so a repeated or late grant does
/// no harm. It is returned when the kernel on our side *accepted* the bytes, a quarter of the window at
/// a time. After a second without traffic it is back at its initial size.
///
/// The window doubles while it is what holds the peer back: the peer's bytes stop exactly at a limit it was
/// told (a frame is cut by credit only there), and we had drained all of them when they did. A limit told
/// meanwhile may still be under way, so it is not the latest that counts but the one that was the latest when
/// the mark before was reached; that makes one doubling a round trip at most, however long the tunnel is.
///
/// Growth draws on a byte budget that all streams of a session share. What a window took goes back when
/// the *credit* is used up, not when the window shrinks: credit once given stays given, and a peer that
/// hoards it on one stream after the other must not get more than the budget has.
struct ReceiveWindow: Equatable {
    /// The largest a window grows.
    static let maxSize: UInt64 = 8 << 20
    private static let idleAfter: UInt64 = 1_000

    /// What became of bytes that arrived.
    enum Verdict: Equatable {
        case fine
        /// The credit did not cover them.
        case beyondCredit
        /// It did, but all streams together hold too much.
        case beyondBudget
    }

    private let initial: UInt64
    private var size: UInt64
    /// What of the shared budget this window has, with the initial size in it.
    private var reserved: UInt64
    private var received: UInt64 = 0
    private var consumed: UInt64 = 0
    private(set) var granted: UInt64
    /// The limit whose reaching is watched for, and whether the last bytes ended exactly there.
    private var mark: UInt64
    private var stoppedAtMark = false
    private var lastConsumed: UInt64
    private var isReleased = false

    init(initial: UInt32, now: UInt64) {
        self.initial = UInt64(initial)
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
        guard !isReleased else {
            received = sum
            return .fine
        }
        guard budget.held + UInt64(count) <= ReceiveBudget.maxHeld else { return .beyondBudget }
        received = sum
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
        if !isReleased { budget.held -= taken }
        if now &- lastConsumed >= Self.idleAfter { size = initial }
        lastConsumed = now
        if stoppedAtMark, consumed == received {
            stoppedAtMark = false
            grow(&budget)
        }
        giveBack(&budget)
        defer { if mark <= received { mark = granted } }
        let limit = consumed + size
        guard limit > granted, limit - granted >= size / 4 else { return nil }
        granted = limit
        return limit
    }

    /// Gives everything back to the budget: what was held is gone, what still comes is dropped.
    mutating func release(_ budget: inout ReceiveBudget) {
        guard !isReleased else { return }
        isReleased = true
        budget.held -= held
        budget.growth += reserved - initial
        reserved = initial
        size = initial
    }

    private mutating func grow(_ budget: inout ReceiveBudget) {
        guard !isReleased, size < Self.maxSize else { return }
        let larger = min(2 * size, Self.maxSize)
        let missing = larger - min(larger, reserved)
        guard budget.growth >= missing else { return }
        budget.growth -= missing
        reserved += missing
        size = larger
    }

    private mutating func giveBack(_ budget: inout ReceiveBudget) {
        let needed = max(size, granted - consumed)
        guard needed < reserved else { return }
        budget.growth += reserved - needed
        reserved = needed
    }
}
