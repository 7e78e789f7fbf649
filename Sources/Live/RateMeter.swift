package import TwinportModel

/// Bytes a second, each way.
package struct ByteRate: Equatable, Sendable {
    /// Towards the listener.
    package var bytesIn = 0.0
    /// From the listener.
    package var bytesOut = 0.0

    /// Names two rates.
    package init(bytesIn: Double = 0, bytesOut: Double = 0) {
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
    }

    /// Both.
    var sum: Double { bytesIn + bytesOut }

    static func + (one: ByteRate, other: ByteRate) -> ByteRate {
        ByteRate(bytesIn: one.bytesIn + other.bytesIn, bytesOut: one.bytesOut + other.bytesOut)
    }
}

/// Bytes that were counted, each way.
package struct ByteCount: Equatable, Sendable {
    var bytesIn: UInt64
    var bytesOut: UInt64

    /// Names two counts.
    package init(_ bytesIn: UInt64, _ bytesOut: UInt64) {
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
    }

    /// How fast it came from `earlier` to this. A count that went down began anew in between.
    func rate(since earlier: ByteCount, seconds: Double) -> ByteRate {
        func rate(_ now: UInt64, _ before: UInt64) -> Double {
            Double(now >= before ? now - before : now) / seconds
        }
        return ByteRate(
            bytesIn: rate(bytesIn, earlier.bytesIn), bytesOut: rate(bytesOut, earlier.bytesOut))
    }
}

/// Rates from counts that are looked at now and then. Pure: the clock is the caller's.
package struct RateMeter<Key: Hashable & Sendable>: Sendable {
    private let least: Double
    private var counts: [Key: ByteCount] = [:]
    private var time: UInt64?
    /// By key; what is not here does not move.
    package private(set) var rates: [Key: ByteRate] = [:]

    /// - Parameter least: The shortest time in seconds that a rate is taken over.
    package init(least: Double = 0.1) {
        self.least = least
    }

    /// Takes the counts of a moment.
    ///
    /// - Parameter nanoseconds: Of a clock that only goes forward.
    package mutating func take(_ counts: [Key: ByteCount], at nanoseconds: UInt64) {
        defer { if time == nil { (self.counts, time) = (counts, nanoseconds) } }
        guard let time, nanoseconds > time else { return }
        let seconds = Double(nanoseconds - time) / 1e9
        guard seconds >= least else { return }
        rates = [:]
        for (key, count) in counts {
            // One that was not there began at 0 in between.
            let rate = count.rate(
                since: self.counts[key] ?? ByteCount(0, 0), seconds: seconds)
            if rate.sum > 0 { rates[key] = rate }
        }
        (self.counts, self.time) = (counts, nanoseconds)
    }

    /// The rate of one.
    package subscript(_ key: Key) -> ByteRate { rates[key] ?? ByteRate() }

    /// All together.
    package var total: ByteRate { rates.values.reduce(ByteRate(), +) }
}

/// What tells one listener from all others.
package struct ListenerKey: Hashable, Sendable {
    let direction: Direction
    let kind: SocketKind
    let listener: Endpoint
    let guest: String
    /// A forward's number: places of Unix sockets are no endpoints.
    let forward: Int?

    /// The key of a row.
    package init(_ port: PortSnapshot) {
        direction = port.direction
        kind = port.kind
        listener = port.listener
        guest = port.guest
        forward = port.forward?.place.number
    }
}

extension [PortSnapshot] {
    /// What was carried to and from each.
    package var counts: [ListenerKey: ByteCount] {
        [ListenerKey: ByteCount](
            map { (ListenerKey($0), ByteCount($0.bytesIn, $0.bytesOut)) },
            uniquingKeysWith: { first, _ in first })
    }
}

/// What tells one flow from all others.
package struct FlowKey: Hashable, Sendable {
    let guest: String
    let id: UInt64

    /// The key of a row.
    package init(_ flow: FlowSnapshot) {
        guest = flow.guest
        id = flow.id
    }
}

extension [FlowSnapshot] {
    /// What each carried.
    package var counts: [FlowKey: ByteCount] {
        [FlowKey: ByteCount](
            map { (FlowKey($0), ByteCount($0.bytesIn, $0.bytesOut)) },
            uniquingKeysWith: { first, _ in first })
    }
}
