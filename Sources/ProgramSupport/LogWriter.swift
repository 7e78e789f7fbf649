internal import EventLoop
internal import Logging
internal import Posix

// # The log never stands in the way
//
// Standard error may be a pipe that nobody reads, or a terminal that was stopped with Ctrl-S: write(2) then blocks for
// ever. So lines wait in memory, and a thread of their own writes them. What does not fit is dropped and counted; once
// somebody reads again, a line says how many are missing, at their place.

/// Writes lines to standard error, on a thread of its own. Any thread may give it lines; none ever waits for it.
package final class LogWriter: Sendable {
    /// So many bytes wait at most.
    static let room = 256 << 10
    /// So many bytes leave in one call: whole lines, and no more than a pipe takes at once where it takes any.
    private static let piece = 4_096

    /// The program's own.
    package static let standardError = LogWriter { Console.write($0) }

    private struct State {
        var waiting: [UInt8] = []
        var dropped = 0
        var isWriting = false
        var hasThread = false
        var style = LogStyle()
    }

    private let state = Locked(State())
    private let hasLines = Semaphore()
    private let write: @Sendable ([UInt8]) -> Void

    /// - Parameter write: Writes bytes, and blocks as long as it takes. Called by one thread.
    init(write: @escaping @Sendable ([UInt8]) -> Void) {
        self.write = write
    }

    /// How lines are written from now on.
    func use(_ style: LogStyle) {
        state.withLock { $0.style = style }
    }

    /// Takes one event.
    func add(_ level: Logger.Level, _ message: String, _ pairs: [(key: String, value: String)]) {
        add(state.withLock { $0.style }.line(level, message, pairs, time: Timestamp.now()))
    }

    /// Takes one line.
    func add(_ line: String) {
        let (wakes, starts) = state.withLock { state in
            defer { state.hasThread = true }
            // Once one is dropped all are, until a line says so: how many are missing stands where they are missing.
            let fits = state.waiting.count + line.utf8.count < Self.room
            guard fits, state.dropped == 0 else {
                state.dropped += 1
                return (false, !state.hasThread)
            }
            let wakes = state.waiting.isEmpty && !state.isWriting
            state.waiting.append(contentsOf: line.utf8)
            state.waiting.append(UInt8(ascii: "\n"))
            return (wakes, !state.hasThread)
        }
        if wakes { hasLines.post() }
        guard starts else { return }
        do {
            try LoopThread.start(named: "log") { self.run() }
        } catch {
            // Nothing else can be done without a thread.
            state.withLock { $0.hasThread = false }
        }
    }

    /// Waits until everything is written, but no longer than half a second: the program ends.
    package func finish() {
        for _ in 0..<50 {
            let isDone = state.withLock { $0.waiting.isEmpty && !$0.isWriting }
            if isDone { return }
            ThisProcess.pause(milliseconds: 10)
        }
    }

    private func run() {
        while true {
            hasLines.wait()
            while let bytes = next() { write(bytes) }
        }
    }

    /// The next lines that leave together; nil when there are none.
    private func next() -> [UInt8]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.isWriting = false
                return nil
            }
            state.isWriting = true
            var count = min(state.waiting.count, Self.piece)
            if count < state.waiting.count {
                let newline = UInt8(ascii: "\n")
                count = (state.waiting[..<count].lastIndex(of: newline) ?? count - 1) + 1
            }
            let bytes = Array(state.waiting[..<count])
            state.waiting.removeFirst(count)
            if state.waiting.isEmpty, state.dropped > 0 {
                let text = state.style.line(
                    .warning, "log lines dropped", [("times", "\(state.dropped)")],
                    time: Timestamp.now())
                state.dropped = 0
                state.waiting.append(contentsOf: (text + "\n").utf8)
            }
            return bytes
        }
    }
}
