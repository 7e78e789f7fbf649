internal import CLibuv
package import Posix

/// Notices that the file at a path changed (`uv_fs_poll_t`).
///
/// It compares `stat` results instead of listening for events, which is what makes every way of
/// changing a file look alike: writing in place, an editor's rename-over, deletion, a parent folder
/// that appears later, a network file system. The cost is one `stat` per interval, on libuv's pool.
///
/// A program that writes in place empties the file first, and a poll may fall between that and the writing. So a
/// change is reported ``quiet`` milliseconds later, and an empty file after ``quietAfterEmptying``. Changes within
/// that time are reported as one.
package final class FileWatch {
    /// How many milliseconds a writer has to complete a file.
    static let quiet: UInt64 = 50
    /// The same for an empty file, which is rarely intended.
    static let quietAfterEmptying: UInt64 = 500

    private let handle: Handle
    private let timer: Timer

    /// Calls `handler` on the loop's thread after each change of the file at `path`, within about
    /// `interval` and ``quiet`` milliseconds. A missing file is a state like any other.
    package init(
        loop: Loop, path: String, interval: UInt32, handler: @escaping () -> Void
    ) throws(SystemError) {
        let timer = try Timer(loop: loop, handler: handler)
        self.timer = timer
        handle = try unsafe Handle(UV_FS_POLL, "uv_fs_poll_init") { raw in
            unsafe uv_fs_poll_init(loop.raw, raw.assumingMemoryBound(to: uv_fs_poll_t.self))
        }
        handle.onFire { _, event in
            timer.start(after: event == emptied ? Self.quietAfterEmptying : Self.quiet)
        }
        let status = unsafe uv_fs_poll_start(handle.pointer(), fileChanged, path, interval)
        guard status == 0 else {
            close()
            throw SystemError("uv_fs_poll_start", -status)
        }
    }

    /// Stops for good.
    package func close() {
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
