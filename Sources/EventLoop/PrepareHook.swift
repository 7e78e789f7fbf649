internal import CLibuv
internal import Posix

/// Runs a handler at the end of every loop turn (`uv_prepare_t`: right before the loop polls).
final class PrepareHook {
    private let handle: Handle

    /// - Parameter loop: libuv's loop, which outlives the hook.
    @unsafe init(
        loop: UnsafeMutablePointer<uv_loop_t>, handler: @escaping () -> Void
    ) throws(SystemError) {
        handle = try unsafe Handle(UV_PREPARE, "uv_prepare_init") { raw in
            unsafe uv_prepare_init(loop, raw.assumingMemoryBound(to: uv_prepare_t.self))
        }
        handle.onFire { _, _ in handler() }
        _ = unsafe uv_prepare_start(handle.pointer(), aboutToPoll)
        // The hook alone must not keep a loop running.
        handle.unreference()
    }

    func close() {
        handle.close()
    }
}

private func aboutToPoll(_ handle: UnsafeMutablePointer<uv_prepare_t>?) {
    unsafe Handle.fire(handle)
}
