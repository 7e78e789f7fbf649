internal import CLibuv
package import Posix

// # The loop
//
// One libuv loop, owned by one thread. Everything a `Loop` hands out (pollers, timers, …) belongs to
// the thread that runs it and is not `Sendable`; the compiler then keeps other threads away. The one
// way in from outside is `Mailbox`.
//
// ## What keeps a handle alive
//
// libuv wants handle memory at a stable address until its close callback has run, which is one loop
// turn after `uv_close`. Each wrapper therefore allocates its handle, gives libuv a +1 reference to
// itself when the handle is initialised, and takes it back in the close callback. An owner may drop a
// wrapper at any time after `close()`; libuv's own reference covers the rest. Pollers, timers and
// watches close themselves when dropped; a mailbox that was not closed stays alive and active: that is
// a leak, and `Loop.close()` reports it by trapping, so a test finds it.
//
// ## The end of a turn
//
// Handlers registered with `onTurnEnd` run after all I/O callbacks of a turn and before the loop
// sleeps. The tunnel writes there: what a turn produced leaves in one system call.

/// A libuv event loop. Owned by the thread that runs it; not `Sendable`.
@safe package final class Loop {
    let raw: UnsafeMutablePointer<uv_loop_t>
    private var prepareHook: PrepareHook?
    private var isClosed = false
    /// Whether the loop is closed while libuv still waits for a call that cannot be cancelled. libuv's threads then
    /// block exit(3).
    package private(set) var isStuck = false

    /// Allocates a loop.
    ///
    /// - Throws: ``SystemError`` when the kernel has no descriptor or memory left for it.
    package init() throws(SystemError) {
        unsafe raw = .allocate(capacity: 1)
        let status = unsafe uv_loop_init(raw)
        guard status == 0 else {
            unsafe raw.deallocate()
            throw SystemError("uv_loop_init", -status)
        }
    }

    /// Runs until ``stop()`` is called or no active handle is left.
    package func run() {
        _ = unsafe uv_run(raw, UV_RUN_DEFAULT)
    }

    /// Runs one turn without sleeping. For tests.
    ///
    /// - Returns: Whether active handles remain.
    @discardableResult
    package func runOnce(waiting: Bool = false) -> Bool {
        unsafe uv_run(raw, waiting ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0
    }

    /// Makes ``run()`` return after the current turn.
    package func stop() {
        unsafe uv_stop(raw)
    }

    /// Monotonic time in milliseconds as of the start of this turn (`uv_now`). Cheap, coarse.
    package var now: UInt64 { unsafe uv_now(raw) }

    /// Monotonic time in nanoseconds, read from the clock at each call (`uv_hrtime`).
    package static var nanoseconds: UInt64 { uv_hrtime() }

    /// Calls `handler` at the end of every turn, after I/O callbacks and before sleeping. One handler
    /// per loop: the tunnel's pump.
    package func onTurnEnd(_ handler: @escaping () -> Void) throws(SystemError) {
        precondition(prepareHook == nil, "a loop has one turn-end handler")
        prepareHook = try unsafe PrepareHook(loop: raw, handler: handler)
    }

    /// Releases the loop. Every handle must have been closed before; pending close callbacks run here.
    ///
    /// A handle that is still open is a programming error and traps. A closed handle may still wait for the kernel
    /// after a second, for instance a watch of a file whose file system does not answer. It stays until the process
    /// ends, and the loop's memory with it.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        prepareHook?.close()
        prepareHook = nil
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

/// Counts the handles that were not closed.
private func countOpen(
    _ handle: UnsafeMutablePointer<uv_handle_t>?, _ count: UnsafeMutableRawPointer?
) {
    guard let handle = unsafe handle, unsafe uv_is_closing(handle) == 0 else { return }
    unsafe count?.assumingMemoryBound(to: Int.self).pointee += 1
}
