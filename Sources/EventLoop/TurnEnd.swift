internal import CLibuv

/// Runs a handler at the end of every loop turn (`uv_prepare_t`: right before the loop polls).
final class TurnEnd {
    private let handle: Handle

    init(loop: Loop, handler: @escaping () -> Void) throws(LoopError) {
        handle = try unsafe Handle(UV_PREPARE, "uv_prepare_init") { raw in
            unsafe uv_prepare_init(loop.raw, raw.assumingMemoryBound(to: uv_prepare_t.self))
        }
        handle.onFire { _, _ in handler() }
        _ = unsafe uv_prepare_start(handle.pointer(), turnEnded)
        // The hook alone must not keep a loop running.
        handle.unreference()
    }

    func close() {
        handle.close()
    }
}

private func turnEnded(_ handle: UnsafeMutablePointer<uv_prepare_t>?) {
    unsafe Handle.fire(handle)
}
