internal import TwinportModel

/// When to scan next, and whether the TCP rows of the last scan still hold. Pure: it is told what happened and
/// when.
///
/// After a change, or a hint that may not show in the tables yet, scans follow each other by ``afterChange``; by
/// ``usual`` while things changed lately; by ``quiet`` on a quiet machine. All times are milliseconds.
struct ScanPace {
    static let afterChange: UInt64 = 20
    static let usual: UInt64 = 50
    static let quiet: UInt64 = 100
    /// How long after a change it counts as quiet.
    static let quietAfter: UInt64 = 5_000
    /// How long after a change the shortest interval lasts.
    static let lively: UInt64 = 1_000
    /// The shortest time from a scan to the next one that a hint starts.
    static let hintGap: UInt64 = 5
    /// How long TCP rows may be reused while the kernel tells of every change.
    static let trustHints: UInt64 = 400
    /// The kernel tells before it is done: a socket shows in the tables a moment after its hint.
    static let hintTakesEffect: UInt64 = 60

    private var scannedAt: Instant?
    private var changedAt: Instant?
    private var hintedAt: Instant?
    private var tcpReadAt: Instant?

    init() {}

    /// Notes that the kernel said that something may have changed.
    ///
    /// - Returns: How long to wait before the next scan; 0: scan now.
    mutating func hinted(at now: Instant) -> UInt64 {
        hintedAt = now
        guard let scannedAt else { return 0 }
        return (scannedAt + Self.hintGap).since(now)
    }

    /// Notes that a scan begins.
    ///
    /// - Parameter isTold: Whether the kernel tells of every change of TCP listeners, and nothing else asks for a
    ///   whole reading.
    /// - Returns: Whether the TCP rows of the last scan may be reused: the kernel told of no change since, and it
    ///   is not long ago that they were read.
    mutating func beginScan(at now: Instant, isTold: Bool) -> Bool {
        scannedAt = now
        let isFresh = tcpReadAt.map { now < $0 + Self.trustHints } ?? false
        let hasTakenEffect = hintedAt.map { now > $0 + Self.hintTakesEffect } ?? true
        if isTold, hasTakenEffect, isFresh { return true }
        tcpReadAt = now
        return false
    }

    /// Notes that the scan that began last found a change.
    mutating func foundChange() {
        changedAt = scannedAt
    }

    /// How long to wait after the last scan.
    ///
    /// - Parameter fixed: What the settings ask for instead.
    func interval(fixed: UInt64?) -> UInt64 {
        if let fixed { return max(1, fixed) }
        guard let scannedAt else { return Self.afterChange }
        let sinceChange = changedAt.map { scannedAt.since($0) } ?? .max
        let isTakingEffect = hintedAt.map { scannedAt < $0 + Self.hintTakesEffect } ?? false
        if sinceChange < Self.lively || isTakingEffect { return Self.afterChange }
        return sinceChange < Self.quietAfter ? Self.usual : Self.quiet
    }
}
