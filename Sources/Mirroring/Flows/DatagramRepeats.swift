internal import Sockets

/// What a datagram says, in a number: equal datagrams have equal prints.
struct DatagramPrint: Equatable {
    /// So many bytes are looked at; the rest counts by its length.
    private static let mostBytes = 256
    /// A number that DNS and others choose anew for each question, and the shortest datagram that is taken to have one.
    private static let number = (bytes: 2, inDatagramsFrom: 12)

    let value: UInt64

    init(_ datagram: Span<UInt8>) {
        // Nothing rests on its being hard to forge: whoever could can as well send the same datagram.
        var hash = FNV1a(seed: UInt64(datagram.count))
        let first = datagram.count >= Self.number.inDatagramsFrom ? Self.number.bytes : 0
        for index in first..<min(datagram.count, Self.mostBytes) {
            hash.add(datagram[index])
        }
        value = hash.value
    }
}

/// Datagrams that came before: each began a flow, was not answered, and came again with the next flow of the same
/// listener within a second. Bounded; what is forgotten only makes a loop known later. Pure; times are milliseconds. Loop
/// thread only.
struct DatagramRepeats {
    /// How many datagrams are remembered.
    private static let places = 1_024
    /// A datagram that comes again later than this is no loop that matters.
    static let longestGap: UInt64 = 1_000

    /// One datagram that came again and again.
    struct Chain: Equatable {
        let print: DatagramPrint
        /// How many flows it began, one after the other.
        fileprivate(set) var flows = 1
        /// When the first of them came.
        let since: UInt64
        /// The longest time from one to the next.
        fileprivate(set) var longest: UInt64 = 0
        /// The same on the average.
        fileprivate(set) var average: UInt64 = 0
    }

    private struct Place {
        var chain: Chain
        let traffic: Traffic
        /// The last flow that it began.
        var last: FlowInfo
    }

    private var table: [Place?] = []

    /// A datagram begins a flow.
    ///
    /// - Parameter start: Flows that began until then do not count.
    /// - Returns: Its chain, with this flow.
    mutating func add(_ print: DatagramPrint, _ flow: FlowInfo, after start: UInt64) -> Chain {
        let now = flow.started
        if table.isEmpty { table = Array(repeating: nil, count: Self.places) }
        let index = Int(truncatingIfNeeded: (print.value ^ print.value >> 32) % UInt64(Self.places))
        let fresh = Chain(print: print, since: now)
        guard let place = table[index], Self.isLive(place, now) else {
            table[index] = Place(chain: fresh, traffic: flow.traffic, last: flow)
            return fresh
        }
        guard place.chain.print == print, place.traffic === flow.traffic else {
            // What came again already is not displaced by what did not.
            if place.chain.flows == 1 {
                table[index] = Place(chain: fresh, traffic: flow.traffic, last: flow)
            }
            return fresh
        }
        var chain = place.last.started > start ? place.chain : fresh
        if place.last.started > start {
            chain.longest = max(chain.longest, now &- place.last.started)
            chain.average = (now &- chain.since) / UInt64(chain.flows)
            chain.flows += 1
        }
        table[index] = Place(chain: chain, traffic: flow.traffic, last: flow)
        return chain
    }

    /// Whether a place's datagram waits for its answer, and came just now.
    private static func isLive(_ place: Place, _ now: UInt64) -> Bool {
        !place.last.isOver && place.last.bytesOut == 0 && now &- place.last.started <= longestGap
    }
}
