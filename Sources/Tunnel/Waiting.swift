internal import DequeModule
internal import Wire

extension Session {
    /// Session-level frames that wait; at most one of each.
    struct Urgent {
        var hello = false
        var ping: UInt64?
        var pong: UInt64?
        var sync: UInt64?
        var policy: PolicyMessage?

        var isEmpty: Bool {
            !hello && ping == nil && pong == nil && sync == nil && policy == nil
        }
    }

    /// Who has something to send; never the bytes. In one place, so that a turn in which nobody has costs one
    /// look.
    struct Waiting {
        var urgent = Urgent()
        /// Streams with control frames, and whether one of these is worth waking the peer for.
        var control = Deque<TunnelStream>()
        var isControlDue = false
        /// Whether the delegate may have frames about listeners and mirrors.
        var isDelegateDue = false
        /// Streams with data: those that were idle, and those that had a turn already.
        var newlyReady = Deque<TunnelStream>()
        var ready = Deque<TunnelStream>()

        var hasControl: Bool { isControlDue || isDelegateDue || !urgent.isEmpty }
        var hasData: Bool { !ready.isEmpty || !newlyReady.isEmpty }

        mutating func nextControl() -> TunnelStream? {
            if let stream = control.popFirst() { return stream }
            isControlDue = false
            return nil
        }

        mutating func nextReady() -> TunnelStream? {
            newlyReady.popFirst() ?? ready.popFirst()
        }

        /// Takes streams that ended out of the queues of data, once they may be half of what is there. A
        /// peer that keeps us busy with control would otherwise make the queues grow.
        mutating func forgetEnded(streams: Int) {
            guard ready.count + newlyReady.count > 2 * streams + 64 else { return }
            ready.removeAll { $0.handler == nil }
            newlyReady.removeAll { $0.handler == nil }
        }
    }
}
