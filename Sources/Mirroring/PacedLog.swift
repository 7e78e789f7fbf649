internal import EventLoop
internal import Logging
internal import Tunnel
internal import TwinportModel

// What a peer can make us log. A machine with 5,000 listeners may say so at once; after that, 20 lines a
// second are what a person can follow. The rest is counted, and the count is logged once a minute like
// every other limit.

/// A logger for events that the peer causes. Loop thread only.
final class PacedLog {
    /// For events that the peer does not cause.
    let log: Logger
    private var bucket: TokenBucket
    /// How many lines were left out.
    private(set) var suppressed: UInt64 = 0

    init(_ log: Logger, burst: UInt64 = 20_000, perSecond: UInt64 = 20) {
        self.log = log
        bucket = TokenBucket(burst: burst, perSecond: perSecond, now: Self.now)
    }

    func info(_ message: Logger.Message, metadata: @autoclosure () -> Logger.Metadata) {
        line(.info, message, metadata())
    }

    func line(
        _ level: Logger.Level, _ message: Logger.Message,
        _ metadata: @autoclosure () -> Logger.Metadata
    ) {
        guard log.logLevel <= level else { return }
        guard bucket.take(now: Self.now) else { return suppressed += 1 }
        log.log(level: level, message, metadata: metadata())
    }

    private static var now: UInt64 { Loop.nanoseconds / 1_000_000 }
}

/// Which limits were reached: said once per limit and minute, however often it was. Pure.
struct LimitLog {
    static let every: UInt64 = 60_000

    private var told: [String: (count: UInt64, at: UInt64)] = [:]

    /// Compares the counters with what was said of them.
    ///
    /// - Returns: What is to be said now: a counter's name, and how often its limit was reached since.
    mutating func news(_ counters: Counters, now: UInt64) -> [(name: String, times: UInt64)] {
        var news: [(String, UInt64)] = []
        for (name, count) in counters.named where count > told[name]?.count ?? 0 {
            if let last = told[name], now < last.at + Self.every { continue }
            news.append((name, count - (told[name]?.count ?? 0)))
            told[name] = (count, now)
        }
        return news
    }
}
