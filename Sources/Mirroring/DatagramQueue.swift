internal import DequeModule
internal import Sockets

/// Datagrams of one flow that wait for their turn on the tunnel: at most 64, at most 256 KiB; then the
/// oldest makes room and is counted. Pure.
struct DatagramQueue {
    static let maxCount = 64
    static let maxBytes = 256 << 10

    private var datagrams = Deque<[UInt8]>()
    private var bytes = 0

    var isEmpty: Bool { datagrams.isEmpty }

    /// Adds a datagram.
    ///
    /// - Returns: How many older ones were dropped for it.
    mutating func push(_ span: Span<UInt8>) -> Int {
        let datagram = [UInt8](copying: span)
        var dropped = 0
        while datagrams.count >= Self.maxCount
            || (bytes + datagram.count > Self.maxBytes && !datagrams.isEmpty)
        {
            bytes -= datagrams.removeFirst().count
            dropped += 1
        }
        bytes += datagram.count
        datagrams.append(datagram)
        return dropped
    }

    /// Moves the oldest datagram into `buffer`.
    ///
    /// - Returns: Its size, nil when it is larger than `limit`. The queue must not be empty.
    mutating func pop(into buffer: IOBuffer, limit: Int) -> Int? {
        guard let first = datagrams.first, first.count <= limit else { return nil }
        buffer.append(first)
        bytes -= first.count
        datagrams.removeFirst()
        return first.count
    }
}
