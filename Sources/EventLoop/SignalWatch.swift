internal import CLibuv

/// Calls its handler on the loop's thread when the process gets a signal (`uv_signal_t`).
public final class SignalWatch {
    private let handle: Handle

    /// Watches for `signal` (`SIGTERM`, …), whose default action no longer happens.
    public init(loop: Loop, signal: Int32, handler: @escaping () -> Void) throws(LoopError) {
        handle = try unsafe Handle(UV_SIGNAL, "uv_signal_init") { raw in
            unsafe uv_signal_init(loop.raw, raw.assumingMemoryBound(to: uv_signal_t.self))
        }
        handle.onFire { _, _ in handler() }
        _ = unsafe uv_signal_start(handle.pointer(), signalArrived, signal)
        handle.unreference()
    }

    /// Stops for good.
    public func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func signalArrived(_ handle: UnsafeMutablePointer<uv_signal_t>?, _ number: Int32) {
    unsafe Handle.fire(handle)
}
