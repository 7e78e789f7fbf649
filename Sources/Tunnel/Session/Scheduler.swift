internal import DequeModule
internal import TwinportModel
internal import Wire

// What has something to send, and in which order it leaves: never the bytes. Pure bookkeeping, all in one
// place, so that a turn in which nothing waits costs one look.
//
//     1 urgent frames of the session    2 control frames of streams    3 listeners and mirrors    4 data
//
// Streams with data stand in two queues: those that were idle go first once, those that had a turn already
// follow in turn.

/// What waits to be sent.
struct Scheduler {
    /// Session-level frames that wait; at most one of each.
    struct Urgent {
        var hello = false
        var ping: UInt64?
        var pong: UInt64?
        var sync: UInt64?
        var policy: PolicyMessage?
        /// It need not wake the peer, and leaves with other frames, unless it is in a hurry.
        var taken: UInt64?
        var isTakenHurried = false

        var isEmpty: Bool {
            !hello && ping == nil && pong == nil && sync == nil && policy == nil && !isTakenHurried
        }
    }

    var urgent = Urgent()
    /// Whether the delegate may have frames about listeners and mirrors.
    var asksDelegate = false
    /// Streams with control frames, and whether one of these is worth waking the peer for.
    private var control = Deque<TunnelStream>()
    private var isControlHurried = false
    private var newlyReady = Deque<TunnelStream>()
    private var ready = Deque<TunnelStream>()
    /// Streams with datagrams that may not be sent yet; see ``DatagramPace``.
    private var paced = Deque<TunnelStream>()

    var hasControl: Bool { isControlHurried || asksDelegate || !urgent.isEmpty }
    /// Whether streams have control frames, hurried or not.
    var hasStreamControl: Bool { !control.isEmpty }
    var hasData: Bool { !ready.isEmpty || !newlyReady.isEmpty }
    /// How many streams stand in the queues of data.
    var dataCount: Int { ready.count + newlyReady.count + paced.count }
    /// Whether control of streams, or data, waits for the link.
    var wantsLink: Bool { isControlHurried || hasData }

    // MARK: Control

    /// Adds control frames of a stream.
    mutating func add(
        _ frames: StreamControl.Frames, of stream: TunnelStream, isHurried: Bool
    ) {
        stream.control.frames.insert(frames)
        if isHurried { isControlHurried = true }
        guard !stream.control.isQueued else { return }
        stream.control.isQueued = true
        control.append(stream)
    }

    /// Control that was in no hurry has waited long enough.
    mutating func hurryControl() {
        if !control.isEmpty { isControlHurried = true }
        urgent.isTakenHurried = urgent.taken != nil
    }

    /// The next stream with control frames.
    mutating func nextControl() -> TunnelStream? {
        if let stream = control.popFirst() {
            stream.control.isQueued = false
            return stream
        }
        isControlHurried = false
        return nil
    }

    // MARK: Data

    /// Queues an idle stream that has something to send.
    ///
    /// - Returns: False when it waits already, for its turn or for credit.
    mutating func addNew(_ stream: TunnelStream) -> Bool {
        guard stream.place == .idle else { return false }
        if isWithoutCredit(stream) {
            stream.place = .blocked
            return false
        }
        stream.place = .ready
        newlyReady.append(stream)
        return true
    }

    /// A stream that had a turn has more to send.
    mutating func addAgain(_ stream: TunnelStream) {
        guard stream.place == .idle else { return }
        if isWithoutCredit(stream) {
            stream.place = .blocked
        } else {
            stream.place = .ready
            ready.append(stream)
        }
    }

    /// Takes a stream out of the queues again that was just added by ``addAgain(_:)``.
    ///
    /// - Returns: False if it was not.
    mutating func takeBack(_ stream: TunnelStream) -> Bool {
        guard ready.last === stream else { return false }
        ready.removeLast()
        stream.place = .idle
        return true
    }

    /// A stream whose turn came while its datagram did not fit: it is first in the next turn.
    mutating func putBack(_ stream: TunnelStream) {
        stream.place = .ready
        newlyReady.prepend(stream)
    }

    /// The peer granted credit.
    mutating func unblock(_ stream: TunnelStream, isWanted: Bool) {
        guard stream.place == .blocked else { return }
        stream.place = isWanted ? .ready : .idle
        if isWanted { ready.append(stream) }
    }

    /// A stream whose turn came while too many datagrams are on their way.
    mutating func hold(_ stream: TunnelStream) {
        stream.place = .ready
        paced.append(stream)
    }

    /// Datagrams may be sent again.
    mutating func letHeldGo() {
        while let stream = paced.popFirst() { ready.append(stream) }
    }

    /// The next stream with data, out of the queues.
    mutating func nextReady() -> TunnelStream? {
        guard let stream = newlyReady.popFirst() ?? ready.popFirst() else { return nil }
        stream.place = .idle
        return stream
    }

    /// Datagrams need no credit.
    private func isWithoutCredit(_ stream: TunnelStream) -> Bool {
        stream.transport == .tcp && stream.credit.isUsedUp
    }

    /// Takes streams that ended out of the queues of data, once they may be half of what is there. A
    /// peer that keeps us busy with control would otherwise make the queues grow.
    mutating func forgetEnded(streams: Int) {
        guard dataCount > 2 * streams + 64 else { return }
        ready.removeAll { $0.handler == nil }
        newlyReady.removeAll { $0.handler == nil }
        paced.removeAll { $0.handler == nil }
    }
}
