internal import EventLoop
internal import Histogram
internal import Posix

// The whole of Foundation would make a static program three times as large.
#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Latencies of one run, in nanoseconds, at three significant digits.
struct Latencies {
    private var histogram = Histogram<UInt64>(highestTrackableValue: 60_000_000_000)

    /// Takes note of an operation that began at `start`, a reading of ``Loop/nanoseconds``.
    ///
    /// - Returns: The time now.
    @discardableResult
    mutating func record(since start: UInt64) -> UInt64 {
        let now = Loop.nanoseconds
        // Past the largest value the histogram holds, an operation counts as that large.
        _ = histogram.record(min(now - start, 60_000_000_000))
        return now
    }

    var count: UInt64 { histogram.totalCount }

    /// A percentile in microseconds.
    func microseconds(_ percentile: Double) -> Double {
        Double(histogram.valueAtPercentile(percentile)) / 1_000
    }

    mutating func reset() {
        histogram.reset()
    }

    /// The usual figures, and the curve for a plot.
    func figures(over seconds: Double) -> [String: Figure] {
        [
            "count": .number(Double(count)), "rate": .number(Double(count) / seconds),
            "p50": .number(microseconds(50)), "p90": .number(microseconds(90)),
            "p99": .number(microseconds(99)), "p999": .number(microseconds(99.9)),
            "max": .number(Double(histogram.max) / 1_000),
            "curve": .numbers(Self.curve.map { microseconds($0) }),
        ]
    }

    /// The percentiles of ``figures(over:)``'s curve: one per third of a nine.
    private static let curve: [Double] = (0...12).map { thirds in
        100 - (0..<thirds).reduce(100) { rest, _ in rest * thirdOfANine }
    }
    /// The cube root of a tenth.
    private static let thirdOfANine = 0.464_158_883_361_277_9
}

/// A value in a report.
enum Figure: Encodable {
    case number(Double)
    case numbers([Double])
    case text(String)

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .number(let value): try container.encode(value)
        case .numbers(let values): try container.encode(values)
        case .text(let value): try container.encode(value)
        }
    }
}

/// Prints a report as one line of JSON.
func printReport(_ figures: [String: Figure]) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    printLine(String(decoding: try encoder.encode(figures), as: UTF8.self))
}

/// Runs a load, prints what it measured, and ends the process: with 1, and why on standard error, when it failed.
/// What still hangs on the load's loop ends with the process.
func finish(_ body: () throws -> [String: Figure]) -> Never {
    do {
        try printReport(body())
        ThisProcess.end(0)
    } catch {
        Console.complain("twinport-load: \(error)")
        ThisProcess.end(1)
    }
}

/// Prints a line at once, also into a pipe.
func printLine(_ line: String) {
    // A reader that went hears nothing.
    try? Console.output(line + "\n")
}

/// A load that cannot go on.
struct LoadFailure: Error, CustomStringConvertible {
    let description: String
}
