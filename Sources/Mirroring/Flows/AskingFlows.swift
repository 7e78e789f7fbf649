/// The UDP flows whose listener has not answered yet. Their sockets hear every local program, as a client's own would
/// that waits for an answer from whichever port; so there are few of them, and not for long: the one that waits longest
/// is connected to its listener when there are too many. Loop thread only.
final class AskingFlows {
    static let maxFlows = 64
    /// A server that answers from a port of its own does so by then, in milliseconds.
    static let patience: UInt64 = 5_000

    private struct Entry {
        let flow: UDPListenerFlow
        let since: UInt64
        /// Whether other Twinports know the socket for what it is.
        var isMarked = false
    }

    /// Oldest first.
    private var entries: [Entry] = []

    var count: Int { entries.count }

    func add(_ flow: UDPListenerFlow, now: UInt64) {
        if entries.count >= Self.maxFlows { entries.removeFirst().flow.stopAsking() }
        entries.append(Entry(flow: flow, since: now))
    }

    func remove(_ flow: UDPListenerFlow) {
        entries.removeAll { $0.flow === flow }
    }

    /// To be called once a second. Most flows are answered, and cost no mark, before it comes to that.
    func sweep(now: UInt64) {
        while let first = entries.first, now >= first.since + Self.patience {
            entries.removeFirst().flow.stopAsking()
        }
        for index in entries.indices where !entries[index].isMarked {
            entries[index].isMarked = true
            entries[index].flow.markAsMirror()
        }
    }
}
