internal import EventLoop
internal import Posix

/// Says when a second has passed. Made before its loop runs; any thread may wait.
final class Patience: Sendable {
    /// In milliseconds.
    private static let length: UInt64 = 1_000

    private struct Wait: Sendable {
        let begin: UInt64
        let isOver: @Sendable () -> Void
    }

    private let waits: Mailbox<Wait>

    /// Those that wait, oldest first. Loop thread only.
    private final class Clock {
        private let loop: Loop
        private var queue: [Wait] = []
        private var timer: Timer?

        init(_ loop: Loop) throws(SystemError) {
            self.loop = loop
            timer = try Timer(loop: loop) { [unowned self] in ring() }
        }

        func add(_ more: [Wait]) {
            let isIdle = queue.isEmpty
            queue += more
            if isIdle { ring() }
        }

        private func ring() {
            let passed = queue.prefix { Patience.left(of: $0) == 0 }
            queue.removeFirst(passed.count)
            for wait in passed { wait.isOver() }
            if let next = queue.first { timer?.start(after: Patience.left(of: next)) }
        }

        func close() {
            timer?.close()
            queue = []
        }
    }

    /// Makes one on a loop, which has to be closed with what is returned.
    static func on(_ loop: Loop) throws(SystemError) -> (patience: Patience, close: () -> Void) {
        let clock = try Clock(loop)
        let waits = try Mailbox<Wait>(loop: loop) { clock.add($0) }
        return (
            Patience(waits),
            {
                waits.close()
                clock.close()
            }
        )
    }

    private init(_ waits: Mailbox<Wait>) {
        self.waits = waits
    }

    /// Calls `isOver` on the loop's thread when a second has passed, if the loop still runs then.
    func wait(_ isOver: @escaping @Sendable () -> Void) {
        waits.send(Wait(begin: Loop.nanoseconds, isOver: isOver))
    }

    /// Milliseconds, rounded up.
    private static func left(of wait: Wait) -> UInt64 {
        let passed = (Loop.nanoseconds &- wait.begin) / 1_000_000
        return passed >= length ? 0 : length - passed
    }
}
