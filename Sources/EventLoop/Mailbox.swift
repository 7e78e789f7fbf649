internal import CLibuv
package import Posix

/// The one way into a loop from other threads: messages are queued under a lock and the loop is woken
/// (`uv_async_send`, the only libuv call that other threads may make).
///
/// Messages are delivered on the loop's thread in the order they were sent. Wake-ups coalesce.
/// ``send(_:)`` after ``close()`` drops the message and says so.
package final class Mailbox<Message: Sendable>: Sendable {
    /// libuv's handle as other threads see it: an address to pass to `uv_async_send`, valid until
    /// `close()`, which the lock below makes exclusive with every send.
    @safe private struct WakeUp: @unchecked Sendable {
        let handle: Handle

        func wake() { _ = unsafe uv_async_send(handle.pointer()) }
    }

    private struct State {
        var queue: [Message] = []
        var wakeUp: WakeUp?
    }

    private let state: Locked<State>

    /// Opens a mailbox on `loop`; call on the loop's thread or before it runs. `receive` runs on the
    /// loop's thread with everything queued since the last call.
    package init(loop: Loop, receive: @escaping ([Message]) -> Void) throws(SystemError) {
        let handle = try unsafe Handle(UV_ASYNC, "uv_async_init") { raw in
            unsafe uv_async_init(
                loop.raw, raw.assumingMemoryBound(to: uv_async_t.self), mailboxWoken)
        }
        state = Locked(State(wakeUp: WakeUp(handle: handle)))
        handle.onFire { [weak self] _, _ in
            guard let self else { return }
            let messages = state.withLock { state in
                defer { state.queue = [] }
                return state.queue
            }
            if !messages.isEmpty { receive(messages) }
        }
    }

    /// Queues a message and wakes the loop. Any thread.
    ///
    /// - Returns: Whether the mailbox was open to take it.
    @discardableResult
    package func send(_ message: Message) -> Bool {
        state.withLock { state in
            guard let wakeUp = state.wakeUp else { return false }
            state.queue.append(message)
            if state.queue.count == 1 { wakeUp.wake() }
            return true
        }
    }

    /// Closes the mailbox. Loop thread only; queued messages that were not delivered are dropped.
    package func close() {
        let wakeUp = state.withLock { state in
            defer { state.wakeUp = nil }
            state.queue = []
            return state.wakeUp
        }
        wakeUp?.handle.close()
    }
}

private func mailboxWoken(_ raw: UnsafeMutablePointer<uv_async_t>?) {
    unsafe Handle.fire(raw)
}
