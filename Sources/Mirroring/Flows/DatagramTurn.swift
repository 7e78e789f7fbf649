internal import Posix
internal import Sockets

/// How much one socket's datagrams get of one turn of the loop: as many as a flow's queue holds, in count and in
/// bytes. More of a flood would be received, at the price of a copy each, only to be dropped; in the kernel's
/// buffer they cost nothing.
///
/// How large datagrams are, and how many come in one packet, is known only once they are here. So what is asked for next
/// follows from those that came last.
struct DatagramTurn {
    private var count = 0
    private var bytes = 0
    /// Whether nothing more waits in the socket.
    private(set) var isDrained = false
    /// The mean size of those that came last, in bytes, rounded up.
    private var typical = 0
    /// How many came in a packet. It falls slowly: a stream of packets of many is interrupted by single ones.
    private(set) var perPacket = 1
    /// How many packets to ask for at most. After packets of several it begins small again.
    private var most = Self.fewest
    /// So many of full runs are what a queue holds. What it does not hold would be dropped, and the kernel could have
    /// kept the packets.
    private static let fewest = DatagramQueue.mostInPackets.count / DatagramRun.capacity

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
        took(count, bytes: batch.byteCount, packets: batch.packetCount)
        return count
    }

    /// How many packets to ask for now, nil when the turn is over.
    var next: Int? {
        // Never more than fits into a packet: while the queue is not full, one is asked for.
        let packet = min(max(typical * perPacket, 1), DatagramQueue.largest)
        let room = (DatagramQueue.maxBytes - bytes) / packet
        let places = (DatagramQueue.maxCount - count + perPacket - 1) / perPacket
        let limit = min(most, places, room)
        return isDrained || limit <= 0 ? nil : limit
    }

    /// Counts what came when `next` was asked for.
    ///
    /// - Parameter packets: In how many packets; nil: each in its own.
    mutating func took(_ datagrams: Int, bytes size: Int, packets: Int? = nil) {
        let packets = packets ?? datagrams
        isDrained = packets < (next ?? 0)
        count += datagrams
        bytes += size
        guard datagrams > 0, packets > 0 else { return }
        if datagrams > packets {
            most = Self.fewest
        } else if !isDrained, perPacket == 1 {
            // Each call costs; a flood of single datagrams takes as few as it can.
            most = min(2 * most, DatagramBatch.capacity)
        }
        typical = (size + datagrams - 1) / datagrams
        perPacket = max((datagrams + packets - 1) / packets, perPacket / 2, 1)
    }
}
