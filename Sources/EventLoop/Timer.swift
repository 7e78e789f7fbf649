internal import CLibuv
package import Posix

/// Calls its handler once or repeatedly (`uv_timer_t`). Millisecond resolution, loop thread only.
package final class Timer {
    private let handle: Handle

    /// Creates a stopped timer.
    package init(loop: Loop, handler: @escaping () -> Void) throws(SystemError) {
        handle = try unsafe Handle(UV_TIMER, "uv_timer_init") { raw in
            unsafe uv_timer_init(loop.raw, raw.assumingMemoryBound(to: uv_timer_t.self))
        }
        handle.onFire { _, _ in handler() }
    }

    /// Fires after `delay` milliseconds, then every `interval` milliseconds if that is not zero.
    /// Starting a running timer sets it anew.
    package func start(after delay: UInt64, every interval: UInt64 = 0) {
        guard !handle.isClosed else { return }
        _ = unsafe uv_timer_start(handle.pointer(), timerFired, delay, interval)
    }

    /// Stops firing; the timer may be started again.
    package func stop() {
        guard !handle.isClosed else { return }
        _ = unsafe uv_timer_stop(handle.pointer())
    }

    /// Stops for good.
    package func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func timerFired(_ handle: UnsafeMutablePointer<uv_timer_t>?) {
    unsafe Handle.fire(handle)
}
