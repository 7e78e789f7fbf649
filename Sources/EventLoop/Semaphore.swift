internal import CLibuv

/// A count that threads add to and wait for.
package final class Semaphore: Sendable {
    /// An address that is valid from `init` to `deinit`.
    @safe private struct Raw: @unchecked Sendable {
        let pointer: UnsafeMutablePointer<uv_sem_t>
    }

    private let raw: Raw

    /// Makes one that stands at 0.
    package init() {
        let pointer = UnsafeMutablePointer<uv_sem_t>.allocate(capacity: 1)
        let code = unsafe uv_sem_init(pointer, 0)
        precondition(code == 0, "uv_sem_init")
        unsafe raw = Raw(pointer: pointer)
    }

    deinit {
        unsafe uv_sem_destroy(raw.pointer)
        unsafe raw.pointer.deallocate()
    }

    /// Adds one: a thread that waits goes on. Any thread; never blocks.
    package func post() {
        unsafe uv_sem_post(raw.pointer)
    }

    /// Takes one, and blocks until there is one. Any thread.
    package func wait() {
        unsafe uv_sem_wait(raw.pointer)
    }
}
