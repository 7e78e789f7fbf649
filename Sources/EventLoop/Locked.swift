internal import CLibuv

/// State that threads share under a lock.
///
/// The standard library's `Mutex` does the same, but on Linux it is a futex inside an uninstrumented
/// library: the thread sanitizer does not see that it orders anything, and reports every use as a race.
/// libuv's is a pthread mutex, which the sanitizer knows, so that its reports mean something.
package final class Locked<State>: Sendable {
    /// The lock, and the state that is touched only under it.
    @safe private struct Storage: @unchecked Sendable {
        let mutex: UnsafeMutablePointer<uv_mutex_t>
        let state: UnsafeMutablePointer<State>
    }

    private let storage: Storage

    /// Puts `state` under a lock of its own.
    package init(_ state: sending State) {
        let mutex = UnsafeMutablePointer<uv_mutex_t>.allocate(capacity: 1)
        let code = unsafe uv_mutex_init(mutex)
        precondition(code == 0, "uv_mutex_init")
        let place = UnsafeMutablePointer<State>.allocate(capacity: 1)
        unsafe place.initialize(to: state)
        unsafe storage = Storage(mutex: mutex, state: place)
    }

    deinit {
        unsafe uv_mutex_destroy(storage.mutex)
        unsafe storage.mutex.deallocate()
        unsafe storage.state.deinitialize(count: 1)
        unsafe storage.state.deallocate()
    }

    /// Runs `body` with exclusive access to the state. Not recursive. Any thread.
    package func withLock<Result, Failure: Error>(
        _ body: (inout sending State) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        unsafe uv_mutex_lock(storage.mutex)
        defer { unsafe uv_mutex_unlock(storage.mutex) }
        return try unsafe body(&storage.state.pointee)
    }
}
