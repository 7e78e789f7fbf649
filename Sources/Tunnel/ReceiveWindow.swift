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
/// Growth draws on a byte budget that all streams of a session share, so the most a peer can make us hold is
/// `streams × initial + budget`.
struct ReceiveWindow: Equatable {
    /// The largest a window grows.
    static let maxSize: UInt64 = 8 << 20
    private static let idleAfter: UInt64 = 1_000

    private let initial: UInt64
    private var size: UInt64
    private var received: UInt64 = 0
    private var consumed: UInt64 = 0
    private(set) var granted: UInt64
    /// The limit whose reaching is watched for, and whether the last bytes ended exactly there.
    private var mark: UInt64
    private var stoppedAtMark = false
    private var lastConsumed: UInt64

    init(initial: UInt32, now: UInt64) {
        self.initial = UInt64(initial)
        size = self.initial
        granted = self.initial
        mark = self.initial
        lastConsumed = now
    }

    /// Bytes that arrived and were not consumed yet.
    var held: UInt64 { received - consumed }

    /// Counts bytes that arrived.
    ///
    /// - Returns: Whether the credit covered them.
    mutating func receive(_ count: Int) -> Bool {
        let (sum, overflow) = received.addingReportingOverflow(UInt64(count))
        guard !overflow, sum <= granted else { return false }
        received = sum
        stoppedAtMark = sum == mark
        return true
    }

    /// Counts bytes that the kernel accepted.
    ///
    /// - Returns: The new limit to tell the peer, nil while it is not worth a frame.
    mutating func consume(_ count: Int, budget: inout UInt64, now: UInt64) -> UInt64? {
        consumed = min(received, consumed + UInt64(count))
        if now &- lastConsumed >= Self.idleAfter { shrink(&budget) }
        lastConsumed = now
        if stoppedAtMark, consumed == received {
            stoppedAtMark = false
            grow(&budget)
        }
        defer { if mark <= received { mark = granted } }
        let limit = consumed + size
        guard limit > granted, limit - granted >= size / 4 else { return nil }
        granted = limit
        return limit
    }

    /// Gives what growth took back to the budget; for the end of the stream.
    mutating func shrink(_ budget: inout UInt64) {
        budget += size - initial
        size = initial
    }

    private mutating func grow(_ budget: inout UInt64) {
        let wanted = min(size, Self.maxSize - min(size, Self.maxSize))
        guard wanted > 0, budget >= wanted else { return }
        budget -= wanted
        size += wanted
    }
}
