/// Where datagrams of one exchange lie in a buffer, in their order. A value without memory of its own, so that none costs
/// an allocation.
package struct DatagramRun {
    /// The most datagrams that a run holds.
    package static let capacity = 64

    private struct Place {
        var start: UInt32 = 0
        var size: UInt32 = 0
    }

    private var places = InlineArray<64, Place>(repeating: Place())
    /// How many datagrams there are.
    package private(set) var count = 0
    /// How many bytes they have, all together.
    package private(set) var byteCount = 0

    /// An empty run.
    package init() {}

    /// Whether no other datagram fits.
    package var isFull: Bool { count == Self.capacity }

    /// Adds a datagram, which may be empty. The run must not be full.
    package mutating func append(_ place: Range<Int>) {
        precondition(!isFull)
        places[count] = Place(
            start: UInt32(place.lowerBound), size: UInt32(place.upperBound - place.lowerBound))
        count += 1
        byteCount += place.upperBound - place.lowerBound
    }

    /// Where datagram `index` lies.
    package subscript(index: Int) -> Range<Int> {
        precondition(index < count)
        let place = places[index]
        return Int(place.start)..<(Int(place.start) + Int(place.size))
    }
}
