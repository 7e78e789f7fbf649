/// How much the peer may send on one stream. Pure.
///
/// Credit is an absolute offset, counted from the stream's first byte, so a repeated or late grant does
/// no harm. It is returned when the kernel on our side *accepted* the bytes, a quarter of the window at
/// a time. While the peer uses up all credit and we keep draining, the window doubles; after a second
/// without traffic it is back at its initial size. Growth draws on a byte budget that all streams of a
/// session share, so the most a peer can make us hold is `streams × initial + budget`.
struct ReceiveWindow: Equatable {
    /// The largest a window grows.
    static let maxSize: UInt64 = 8 << 20
    private static let idleAfter: UInt64 = 1_000

    private let initial: UInt64
    private var size: UInt64
    private var received: UInt64 = 0
    private var consumed: UInt64 = 0
    private(set) var granted: UInt64
    private var lastConsumed: UInt64

    init(initial: UInt32, now: UInt64) {
        self.initial = UInt64(initial)
        size = self.initial
        granted = self.initial
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
        return true
    }

    /// Counts bytes that the kernel accepted.
    ///
    /// - Returns: The new limit to tell the peer, nil while it is not worth a frame.
    mutating func consume(_ count: Int, budget: inout UInt64, now: UInt64) -> UInt64? {
        consumed = min(received, consumed + UInt64(count))
        if now &- lastConsumed >= Self.idleAfter { shrink(&budget) }
        lastConsumed = now
        if received == granted, consumed == received { grow(&budget) }
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
