internal import DequeModule
internal import Sockets

/// Bytes that the kernel did not take yet, in order. Bounded by the stream's window, which is the only
/// way they get here.
///
/// They lie in chunks, so that many of them cost hardly more memory than they are, and go back to the
/// allocator as they leave.
struct PendingBytes {
    /// Also what one write offers at most.
    static let maxChunk = 32_768

    private var chunks = Deque<[UInt8]>()
    /// How much of the first chunk has left.
    private var head = 0
    private var count = 0
    /// How many bytes leave before the one that is urgent. A later one takes its place, as it would in the kernel, and
    /// the earlier one is an ordinary byte then: a peer may send nothing but urgent bytes.
    private var urgentAfter: Int?

    var isEmpty: Bool { chunks.isEmpty }

    mutating func append(_ span: Span<UInt8>) {
        var start = 0
        while start < span.count {
            if chunks.last.map({ $0.count >= Self.maxChunk }) ?? true { chunks.append([]) }
            let last = chunks.count - 1
            let count = min(span.count - start, Self.maxChunk - chunks[last].count)
            Self.extend(&chunks[last], by: span.extracting(start..<(start + count)))
            start += count
        }
        count += span.count
    }

    /// Adds a byte that is to be sent as urgent.
    mutating func appendUrgent(_ byte: UInt8) {
        urgentAfter = count
        append([byte].span)
    }

    private static func extend(_ chunk: inout [UInt8], by span: Span<UInt8>) {
        let needed = chunk.count + span.count
        // Half as much again, not just enough: a peer may send its window in frames of one byte.
        if needed > chunk.capacity {
            chunk.reserveCapacity(max(needed, min(maxChunk, chunk.capacity + chunk.capacity / 2)))
        }
        chunk.append(copying: span)
    }

    /// Offers the bytes to `body` until it takes no more (returns nil) or all are gone; an urgent one alone.
    ///
    /// - Returns: How many it took.
    mutating func drain<Failure: Error>(
        _ body: (Span<UInt8>, _ isUrgent: Bool) throws(Failure) -> Int?
    ) throws(Failure) -> Int {
        var taken = 0
        while let chunk = chunks.first {
            let isUrgent = urgentAfter == 0
            let limit = isUrgent ? 1 : urgentAfter ?? .max
            let offered = head..<(head + min(chunk.count - head, limit))
            guard let count = try body(chunk.span.extracting(offered), isUrgent) else { break }
            taken += count
            head += count
            self.count -= count
            urgentAfter = isUrgent ? nil : urgentAfter.map { $0 - count }
            if head == chunk.count {
                chunks.removeFirst()
                head = 0
            }
        }
        // A burst must not leave its memory with an idle flow.
        if isEmpty { chunks = Deque() }
        return taken
    }
}
