internal import CLibuv

// # The loop
//
// One libuv loop, owned by one thread. Everything a `Loop` hands out (pollers, timers, …) belongs to
// the thread that runs it and is not `Sendable`; the compiler then keeps other threads away. The one
// door in from outside is `Mailbox`.
//
// ## Who keeps a handle alive
//
// libuv wants handle memory at a stable address until its close callback has run, which is one loop
// turn after `uv_close`. Each wrapper therefore allocates its handle, gives libuv a +1 reference to
// itself when the handle is initialised, and takes it back in the close callback. An owner may drop a
// wrapper at any time after `close()`; libuv's own reference covers the rest. Pollers, timers and
// watches close themselves when dropped; a mailbox that nobody closed stays alive and active: that is
// a leak, and `Loop.close()` reports it by trapping, so a test finds it.
//
// ## The end of a turn
//
// Handlers registered with `onTurnEnd` run after all I/O callbacks of a turn and before the loop
// sleeps. The tunnel writes there: what a turn produced leaves in one system call.

/// A libuv event loop. Owned by the thread that runs it; not `Sendable`.
@safe public final class Loop {
    let raw: UnsafeMutablePointer<uv_loop_t>
    private var turnEnd: TurnEnd?
    private var isClosed = false
    /// Whether the loop is closed and libuv still waits for something that cannot be taken back. Its threads then keep
    /// exit(3) waiting.
    public private(set) var isStuck = false

    /// Allocates a loop.
    ///
    /// - Throws: ``LoopError`` when the kernel has no descriptor or memory left for it.
    public init() throws(LoopError) {
        unsafe raw = .allocate(capacity: 1)
        let status = unsafe uv_loop_init(raw)
        guard status == 0 else {
            unsafe raw.deallocate()
            throw LoopError(call: "uv_loop_init", status: status)
        }
    }

    /// Runs until ``stop()`` is called or no active handle is left.
    public func run() {
        _ = unsafe uv_run(raw, UV_RUN_DEFAULT)
    }

    /// Runs one turn without sleeping. For tests.
    ///
    /// - Returns: Whether active handles remain.
    @discardableResult
    public func runOnce(waiting: Bool = false) -> Bool {
        unsafe uv_run(raw, waiting ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0
    }

    /// Makes ``run()`` return after the current turn.
    public func stop() {
        unsafe uv_stop(raw)
    }

    /// Monotonic time in milliseconds as of the start of this turn (`uv_now`). Cheap, coarse.
    public var now: UInt64 { unsafe uv_now(raw) }

    /// Monotonic time in nanoseconds, read from the clock at each call (`uv_hrtime`).
    public static var nanoseconds: UInt64 { uv_hrtime() }

    /// Calls `handler` at the end of every turn, after I/O callbacks and before sleeping. One handler
    /// per loop: the tunnel's pump.
    public func onTurnEnd(_ handler: @escaping () -> Void) throws(LoopError) {
        precondition(turnEnd == nil, "a loop has one turn-end handler")
        turnEnd = try TurnEnd(loop: self, handler: handler)
    }

    /// Releases the loop. Every handle must have been closed before; pending close callbacks run here.
    ///
    /// A handle that is still open is a programming error and traps. One that was closed and still waits for the
    /// kernel after a second, as a watch of a file whose file system does not answer, is left to the end of the
    /// process, and the loop's memory with it.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        turnEnd?.close()
        turnEnd = nil
        // Close callbacks of handles closed just now are still due, and so may be a `stat` of a file watch,
        // which is on libuv's pool and cannot be taken back.
        let deadline = Self.nanoseconds + 1_000_000_000
        while unsafe uv_run(raw, UV_RUN_NOWAIT) != 0, Self.nanoseconds < deadline {
            uv_sleep(1)
        }
        guard unsafe uv_loop_close(raw) != 0 else { return }
        var open = 0
        unsafe uv_walk(raw, countOpen, &open)
        precondition(open == 0, "a handle outlived its loop")
        isStuck = true
    }

    deinit {
        precondition(isClosed, "Loop dropped without close()")
        if !isStuck { unsafe raw.deallocate() }
    }
}

/// Counts the handles that nobody closed.
private func countOpen(
    _ handle: UnsafeMutablePointer<uv_handle_t>?, _ count: UnsafeMutableRawPointer?
) {
    guard let handle = unsafe handle, unsafe uv_is_closing(handle) == 0 else { return }
    unsafe count?.assumingMemoryBound(to: Int.self).pointee += 1
}

/// A libuv call that failed.
public struct LoopError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The libuv function.
    public let call: String
    /// libuv's status: a negated errno on Unix.
    public let status: Int32

    /// libuv's own words for the status.
    public var description: String {
        unsafe "\(call): \(String(cString: uv_strerror(status)))"
    }
}
