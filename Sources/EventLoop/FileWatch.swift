internal import CLibuv

/// Notices that the file at a path changed (`uv_fs_poll_t`).
///
/// It compares `stat` results instead of listening for events, which is what makes every way of
/// changing a file look alike: writing in place, an editor's rename-over, deletion, a parent folder
/// that appears later, a network file system. The cost is one `stat` per interval, on libuv's pool.
public final class FileWatch {
    private let handle: Handle

    /// Calls `handler` on the loop's thread after each change of the file at `path`, within about
    /// `interval` milliseconds. A missing file is a state like any other.
    public init(
        loop: Loop, path: String, interval: UInt32, handler: @escaping () -> Void
    ) throws(LoopError) {
        handle = try unsafe Handle(UV_FS_POLL, "uv_fs_poll_init") { raw in
            unsafe uv_fs_poll_init(loop.raw, raw.assumingMemoryBound(to: uv_fs_poll_t.self))
        }
        handle.onFire { _, _ in handler() }
        let status = unsafe uv_fs_poll_start(handle.pointer(), fileChanged, path, interval)
        guard status == 0 else {
            handle.close()
            throw LoopError(call: "uv_fs_poll_start", status: status)
        }
    }

    /// Stops for good.
    public func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func fileChanged(
    _ handle: UnsafeMutablePointer<uv_fs_poll_t>?, _ status: Int32,
    _ before: UnsafePointer<uv_stat_t>?, _ after: UnsafePointer<uv_stat_t>?
) {
    unsafe Handle.fire(handle)
}
