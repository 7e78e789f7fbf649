internal import CLibuv

/// Notices that the file at a path changed (`uv_fs_poll_t`).
///
/// It compares `stat` results instead of listening for events, which is what makes every way of
/// changing a file look alike: writing in place, an editor's rename-over, deletion, a parent folder
/// that appears later, a network file system. The cost is one `stat` per interval, on libuv's pool.
///
/// Whoever writes in place empties the file first and fills it then, and a poll may fall in between. So a
/// change is told only ``settling`` later, and a file found empty only after ``settlingEmpty``; what happens
/// meanwhile makes one change of the two.
public final class FileWatch {
    /// Milliseconds that a file is given to be complete.
    static let settling: UInt64 = 50
    /// The same for a file of no bytes, which is seldom meant.
    static let settlingEmpty: UInt64 = 500

    private let handle: Handle
    private let timer: Timer

    /// Calls `handler` on the loop's thread after each change of the file at `path`, within about
    /// `interval` and ``settling`` milliseconds. A missing file is a state like any other.
    public init(
        loop: Loop, path: String, interval: UInt32, handler: @escaping () -> Void
    ) throws(LoopError) {
        let timer = try Timer(loop: loop, handler: handler)
        self.timer = timer
        handle = try unsafe Handle(UV_FS_POLL, "uv_fs_poll_init") { raw in
            unsafe uv_fs_poll_init(loop.raw, raw.assumingMemoryBound(to: uv_fs_poll_t.self))
        }
        handle.onFire { _, event in
            timer.start(after: event == emptied ? Self.settlingEmpty : Self.settling)
        }
        let status = unsafe uv_fs_poll_start(handle.pointer(), fileChanged, path, interval)
        guard status == 0 else {
            close()
            throw LoopError(call: "uv_fs_poll_start", status: status)
        }
    }

    /// Stops for good.
    public func close() {
        handle.close()
        timer.close()
    }

    deinit {
        close()
    }
}

/// What a change brought: a file without bytes, or anything else.
private let emptied: Int32 = 1

private func fileChanged(
    _ handle: UnsafeMutablePointer<uv_fs_poll_t>?, _ status: Int32,
    _ before: UnsafePointer<uv_stat_t>?, _ after: UnsafePointer<uv_stat_t>?
) {
    let isEmpty = unsafe status == 0 && after?.pointee.st_size == 0
    unsafe Handle.fire(handle, events: isEmpty ? emptied : 0)
}
