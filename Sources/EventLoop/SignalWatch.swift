internal import CLibuv
package import Posix

/// Calls its handler on the loop's thread when the process gets a signal (`uv_signal_t`).
package final class SignalWatch {
    private let handle: Handle

    /// Watches for `signal` (`SIGTERM`, …), whose default action no longer happens.
    ///
    /// - Parameter keepsLoop: Whether the loop runs on for this watch alone.
    package init(
        loop: Loop, signal: Int32, keepsLoop: Bool = false, handler: @escaping () -> Void
    ) throws(SystemError) {
        handle = try unsafe Handle(UV_SIGNAL, "uv_signal_init") { raw in
            unsafe uv_signal_init(loop.raw, raw.assumingMemoryBound(to: uv_signal_t.self))
        }
        handle.onFire { _, _ in handler() }
        _ = unsafe uv_signal_start(handle.pointer(), signalArrived, signal)
        if !keepsLoop { handle.unreference() }
    }

    /// Stops for good.
    package func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func signalArrived(_ handle: UnsafeMutablePointer<uv_signal_t>?, _ number: Int32) {
    unsafe Handle.fire(handle)
}
