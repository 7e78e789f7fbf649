internal import DequeModule
internal import Sockets

/// What all datagram queues of a forwarder may hold together. Loop thread only.
final class DatagramBudget {
    /// With ``DatagramQueue/overhead`` for each.
    static let maxBytes = 16 << 20

    fileprivate(set) var bytes = 0
}

/// Datagrams of one flow that wait for their turn on the tunnel: at most 64, at most 256 KiB; then the
/// oldest makes room and is counted. When all queues together hold too much, a flow keeps what it has and
/// the newcomer is dropped.
///
/// The owner of a queue calls ``removeAll()`` when the flow ends.
struct DatagramQueue {
    static let maxCount = 64
    static let maxBytes = 256 << 10
    /// The payload of the largest datagram: over IPv6, whose length counts no header of its own (RFC 8200 §3).
    private static let largest = 65_527
    /// What a datagram costs beside its bytes.
    static let overhead = 64

    private let budget: DatagramBudget
    private var datagrams = Deque<[UInt8]>()
    private var bytes = 0

    init(_ budget: DatagramBudget) {
        self.budget = budget
    }

    var isEmpty: Bool { datagrams.isEmpty }

    /// How much waits.
    struct Load {
        var count = 0
        /// Of payload.
        var bytes = 0
    }

    var load: Load { Load(count: datagrams.count, bytes: bytes) }

    /// Whether one more datagram, as large as they can be, could make an older one go.
    var isFull: Bool {
        datagrams.count >= Self.maxCount || bytes > Self.maxBytes - Self.largest
    }

    /// Whether a good part of it is free.
    var hasRoom: Bool {
        datagrams.count <= Self.maxCount / 2 && bytes <= Self.maxBytes / 2
    }

    /// Adds a datagram.
    ///
    /// - Returns: How many were dropped: older ones for it, or itself.
    mutating func push(_ span: Span<UInt8>) -> Int {
        var dropped = 0
        while datagrams.count >= Self.maxCount
            || (bytes + span.count > Self.maxBytes && !datagrams.isEmpty)
        {
            removeFirst()
            dropped += 1
        }
        let cost = span.count + Self.overhead
        guard budget.bytes + cost <= DatagramBudget.maxBytes else { return dropped + 1 }
        let datagram = [UInt8](copying: span)
        bytes += span.count
        budget.bytes += cost
        datagrams.append(datagram)
        return dropped
    }

    /// Moves the oldest datagram into `buffer`.
    ///
    /// - Returns: Its size, nil when it is larger than `limit`. The queue must not be empty.
    mutating func pop(into buffer: IOBuffer, limit: Int) -> Int? {
        guard let first = datagrams.first, first.count <= limit else { return nil }
        buffer.append(first)
        removeFirst()
        return first.count
    }

    /// Forgets what waits.
    mutating func removeAll() {
        budget.bytes -= bytes + datagrams.count * Self.overhead
        bytes = 0
        datagrams.removeAll()
    }

    private mutating func removeFirst() {
        let size = datagrams.removeFirst().count
        bytes -= size
        budget.bytes -= size + Self.overhead
    }
}
