internal import TwinportModel

/// Sets of ports, as ranges.
enum PortSet {
    /// So many ranges are kept of one set.
    private static let most = 2_048

    /// In order, and none overlaps another.
    static func sorted(_ ranges: [ClosedRange<Port>]) -> [ClosedRange<Port>] {
        var joined: [ClosedRange<Port>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, Int(range.lowerBound) <= Int(last.upperBound) + 1 {
                joined[joined.count - 1] =
                    last.lowerBound...max(last.upperBound, range.upperBound)
            } else if joined.count < most {
                joined.append(range)
            }
        }
        return joined
    }

    /// The ports that are not in `ranges`.
    static func complement(_ ranges: [ClosedRange<Port>]) -> [ClosedRange<Port>] {
        var rest: [ClosedRange<Port>] = []
        var next = 0
        for range in sorted(ranges) {
            if Int(range.lowerBound) > next { rest.append(Port(next)...(range.lowerBound - 1)) }
            next = Int(range.upperBound) + 1
        }
        if next <= Int(Port.max) { rest.append(Port(next)...Port.max) }
        return rest
    }

    /// The ports that are in both; each is in order, and none of its ranges overlaps another.
    static func common(
        _ one: [ClosedRange<Port>], _ other: [ClosedRange<Port>]
    ) -> [ClosedRange<Port>] {
        var found: [ClosedRange<Port>] = []
        var (first, second) = (0, 0)
        while first < one.count, second < other.count {
            let (mine, others) = (one[first], other[second])
            if mine.overlaps(others) { found.append(mine.clamped(to: others)) }
            if mine.upperBound < others.upperBound { first += 1 } else { second += 1 }
        }
        return found
    }

    /// How many ports they are.
    static func count(_ ranges: [ClosedRange<Port>]) -> Int { ranges.reduce(0) { $0 + $1.count } }
}
