internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

// # A flood of datagrams
//
// A client that sends more than the tunnel carries loses datagrams. The question is where, and what that costs. To receive
// each one only to drop it, at the price of a copy, takes the loop's time from all other flows. So a socket is not read
// while the flow that fills it has no room: what comes then stays in the kernel's buffer and, when that is full, is
// dropped there at no cost to us, as it is for any program that reads too slowly. The kernel counts those.
//
// A flow that became full in one turn has room in the next one, unless the tunnel is slower than the flood. So it is
// the turn that finds no room which stops reading, and a flood that the tunnel keeps up with costs nothing.

/// How the datagrams of one socket come in: a turn's worth at a time, and none while their flow has no room.
struct DatagramInlet {
    private var turn = DatagramTurn()
    private(set) var isPaused = false
    /// The kernel's count when it was last looked at.
    private var droppedByKernel: UInt32 = 0
    /// How many datagrams came since then.
    private var uncounted = 0
    /// After how many the kernel is asked again.
    private static let countedEvery = 1_024

    /// Whether nothing more waits in the socket.
    var isDrained: Bool { turn.isDrained }
    /// Whether packets of several datagrams came lately.
    var bringsPackets: Bool { turn.perPacket > 1 }

    /// Begins the loop's next turn.
    ///
    /// - Parameter waiting: What the flow has in its queue that most of the datagrams are for.
    mutating func begin(after waiting: DatagramQueue.Load) {
        turn.begin(after: waiting)
    }

    /// Receives the turn's next datagrams into the batch of `resources`; see ``DatagramTurn/receive(_:from:)``.
    mutating func receive(
        from socket: borrowing Socket, _ resources: Resources
    ) throws(SystemError) -> Int? {
        let count = try turn.receive(resources.batch, from: socket)
        uncounted += count ?? 0
        resources.counters.datagramsDropped += UInt64(count == nil ? 0 : resources.batch.excess)
        if uncounted >= Self.countedEvery { countDropped(by: socket, resources) }
        return count
    }

    /// Watches for what is wanted now.
    func watch(_ poller: Poller?) {
        poller?.watch(isPaused ? .errorsOnly : .readable)
    }

    /// Leaves datagrams in the kernel for now.
    mutating func pause(_ poller: Poller?) {
        isPaused = true
        watch(poller)
    }

    /// Reads again.
    mutating func resume(_ poller: Poller?, _ socket: borrowing Socket, _ resources: Resources) {
        isPaused = false
        watch(poller)
        countDropped(by: socket, resources)
    }

    /// Counts the datagrams that the kernel has dropped since it was asked before. It counts a packet of segments as one,
    /// so how many those were follows from the packets that were not dropped.
    private mutating func countDropped(by socket: borrowing Socket, _ resources: Resources) {
        uncounted = 0
        guard let count = socket.droppedDatagrams else { return }
        resources.counters.datagramsDropped +=
            UInt64(count &- droppedByKernel) * UInt64(turn.perPacket)
        droppedByKernel = count
    }
}
