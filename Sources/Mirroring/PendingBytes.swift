internal import Sockets

/// Bytes that the kernel did not take yet, in order. Bounded by the stream's window, which is the only
/// way they get here.
struct PendingBytes {
    private var bytes: [UInt8] = []
    private var head = 0

    var count: Int { bytes.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ span: Span<UInt8>) {
        let needed = bytes.count + span.count
        // Twice, not just enough: a peer may send its window in frames of one byte.
        if needed > bytes.capacity { bytes.reserveCapacity(max(needed, 2 * bytes.capacity)) }
        bytes.append(copying: span)
    }

    /// Offers the bytes to `body` until it takes no more (returns nil) or all are gone.
    ///
    /// - Returns: How many it took.
    mutating func drain<Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Int?
    ) throws(Failure) -> Int {
        var taken = 0
        let start = head
        let end = bytes.count
        while start + taken < end {
            let count = try body(bytes.span.extracting((start + taken)..<end))
            guard let count else { break }
            taken += count
        }
        head = start + taken
        releaseMemory()
        return taken
    }

    private mutating func releaseMemory() {
        if isEmpty {
            head = 0
            // A burst must not leave its memory with an idle flow.
            bytes.removeAll(keepingCapacity: bytes.capacity <= 4_096)
        } else if head >= 65_536, head >= bytes.count / 2 {
            bytes.removeSubrange(..<head)
            head = 0
        }
    }
}
