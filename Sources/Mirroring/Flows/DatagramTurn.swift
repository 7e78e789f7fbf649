internal import Posix
internal import Sockets

/// How much one socket's datagrams get of one turn of the loop: as many as a flow's queue holds, in count and in
/// bytes. More of a flood would be received, at the price of a copy each, only to be dropped; in the kernel's
/// buffer they cost nothing.
///
/// How large datagrams are is known only once they are here. So what is asked for next follows from the size
/// of those that came last.
struct DatagramTurn {
    private var count = 0
    private var bytes = 0
    /// Whether nothing more waits in the socket.
    private(set) var isDrained = false
    /// The mean size of those that came last, in bytes, rounded up.
    private var typical = 0

    /// Begins the next turn.
    ///
    /// - Parameter waiting: What the flow's queue holds already.
    mutating func begin(after waiting: DatagramQueue.Load = DatagramQueue.Load()) {
        count = waiting.count
        bytes = waiting.bytes
        isDrained = false
    }

    /// Receives the turn's next datagrams into `batch`.
    ///
    /// - Returns: How many came, nil when the turn is over.
    /// - Throws: ``SystemError`` of recvmmsg(2); the turn is then over.
    mutating func receive(
        _ batch: DatagramBatch, from socket: borrowing Socket
    ) throws(SystemError) -> Int? {
        guard let limit = next else { return nil }
        guard let count = try batch.receive(from: socket, limit: limit) else {
            isDrained = true
            return nil
        }
        took(count, bytes: batch.byteCount)
        return count
    }

    /// How many datagrams to ask for now, nil when the turn is over.
    var next: Int? {
        let room = (DatagramQueue.maxBytes - bytes) / max(typical, 1)
        let limit = min(DatagramBatch.capacity, DatagramQueue.maxCount - count, room)
        return isDrained || limit <= 0 ? nil : limit
    }

    /// Counts what came when `next` was asked for.
    mutating func took(_ datagrams: Int, bytes size: Int) {
        isDrained = datagrams < (next ?? 0)
        count += datagrams
        bytes += size
        if datagrams > 0 { typical = (size + datagrams - 1) / datagrams }
    }
}
