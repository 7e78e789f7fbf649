package import Listeners
package import Tunnel

// # Order
//
// A listener that existed before a byte was sent is mirrored before that byte is delivered. On the side that sends, the
// byte was read from its application a moment ago, so whatever listened before the byte was written listens now. What
// is left is to know it:
//
//     batch of bytes read ──▶ has the kernel's signal moved since the last scan that saw everything?
//        no  ──▶ leave                                       one read of memory, nothing else
//        yes ──▶ wait; the watcher scans ──▶ LISTENER frames first, then the batch
//
// Where the kernel gives no signal, every batch waits for a scan as long as the scans' time is within a twenty-fifth of
// all time. The bytes that follow a pause are then in order, and in a conversation the announcement is usually among them.
//
// The other side does its half in `Session.settleNews`: mirrors are bound before it hands on bytes that came behind
// their frames.

/// Holds back what was read from applications until the listeners that were there by then are known. Loop thread only.
package final class OrderGate: SendGate {
    /// For so long bytes are held at most, in milliseconds. A scan takes a fraction of one; with a hundred
    /// thousand sockets, or on a machine that has no time, it can take longer than this.
    package static let longestHold: UInt64 = 100
    /// So many microseconds scans may take in each millisecond: without a signal a twenty-fifth; with one half of the
    /// time, for any program can move it, and as often as it likes.
    private static let allowedPerMillisecond: (blind: Int64, told: Int64) = (40, 500)
    /// What half a second allows is there at once after a pause.
    private static let pause: Int64 = 500

    /// Milliseconds of the loop's clock.
    private let clock: () -> UInt64
    /// Asks the watcher for a scan that begins after the call; nil: there is none, and nothing is held.
    var ask: ((UInt64) -> Void)?
    /// Called when bytes are held: the session has to be pumped after ``longestHold`` at the latest.
    var onHold: () -> Void = {}
    /// The kernel's signal, where it gives one.
    package var signal: (any ListenerSignal)?
    /// Whether listeners are offered to a peer at all.
    var isWanted = true
    private var questions = Questions()
    /// How often bytes left without an answer: after ``longestHold``, or because scans had their share of the time.
    private(set) var gaps: UInt64 = 0

    private struct Questions {
        var last: UInt64 = 0
        var answered: UInt64 = 0
        /// The signal's position up to which everything is known.
        var settled: UInt64 = 0
        /// The question that the batch at hand waits for, and since when.
        var held: (question: UInt64, since: UInt64)?
        /// Microseconds that scans may still take, and when that was computed.
        var allowance = OrderGate.pause * OrderGate.allowedPerMillisecond.blind
        var allowedAt: UInt64 = 0
    }

    init(clock: @escaping () -> UInt64) {
        self.clock = clock
    }

    package func check() -> SendGateVerdict {
        guard let held = questions.held else {
            if isOpen { return .open }
            return hold()
        }
        if questions.answered >= held.question {
            questions.held = nil
            return .openedWithNews
        }
        guard clock() >= held.since + Self.longestHold else { return .held }
        questions.held = nil
        gaps += 1
        return .openedWithNews
    }

    /// Whether everything that listens is known without asking.
    private var isOpen: Bool {
        guard isWanted, ask != nil else { return true }
        guard let signal else { return !mayLook }
        if signal.position == questions.settled { return true }
        if mayLook { return false }
        gaps += 1
        return true
    }

    /// Whether a scan is within its share of the time.
    private var mayLook: Bool {
        let now = clock()
        let allowed =
            signal == nil ? Self.allowedPerMillisecond.blind : Self.allowedPerMillisecond.told
        // Half a second fills it; more would be cut off, and could overflow.
        let passed = Int64(min(now &- questions.allowedAt, 1_000))
        questions.allowedAt = now
        questions.allowance = min(
            Self.pause * allowed, questions.allowance + passed * allowed)
        return questions.allowance > 0
    }

    private func hold() -> SendGateVerdict {
        questions.last += 1
        questions.held = (questions.last, clock())
        ask?(questions.last)
        onHold()
        return .held
    }

    /// The watcher scanned, and what it found was taken over.
    func answered(_ answer: ScanAnswer) {
        questions.answered = answer.question
        questions.settled = answer.settled
        questions.allowance -= Int64(min(answer.microseconds, 10_000_000))
    }

    /// The session is over, and its bytes with it.
    func sessionLost() {
        questions.held = nil
    }
}
