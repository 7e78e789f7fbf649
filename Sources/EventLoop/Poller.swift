internal import CLibuv

/// Watches one descriptor for readiness (`uv_poll_t`, level-triggered epoll underneath).
///
/// The descriptor stays the caller's: close the poller first, the descriptor right after. Interest is
/// changed with ``watch(_:)``; asking for what is already watched costs nothing.
///
/// An error on the descriptor (EPOLLERR: a TCP reset, a refused connect, a UDP ICMP error) stops the
/// poller and reports ``Events/failed``; the owner reads `SO_ERROR` and closes, or watches again.
public final class Poller {
    /// Kinds of readiness.
    public struct Events: OptionSet, Sendable {
        /// The raw bits.
        public let rawValue: Int32
        /// Wraps raw bits.
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// Data, end of file or a connection to accept.
        public static let readable = Events(rawValue: 1)
        /// Room to write, or a finished connect.
        public static let writable = Events(rawValue: 2)
        /// Nothing of one's own, but errors and hang-ups are still reported. Watched by a paused flow,
        /// so that it learns of a reset (EPOLLPRI, which is quiet unless urgent data arrives).
        public static let errorsOnly = Events(rawValue: 8)
        fileprivate static let watchable: Events = [.readable, .writable, .errorsOnly]
        /// Reported only, never watched: the descriptor has an error; the poller has stopped.
        public static let failed = Events(rawValue: 1 << 16)
    }

    private let handle: Handle
    /// What is watched now.
    public private(set) var interest: Events = []

    /// Prepares to watch `descriptor`, which must be non-blocking and not be watched by another poller.
    ///
    /// - Throws: ``LoopError``, as with a descriptor that epoll cannot watch.
    public init(
        loop: Loop, descriptor: Int32, handler: @escaping (Events) -> Void
    ) throws(LoopError) {
        handle = try unsafe Handle(UV_POLL, "uv_poll_init") { raw in
            unsafe uv_poll_init(
                loop.raw, raw.assumingMemoryBound(to: uv_poll_t.self), descriptor)
        }
        handle.onFire { [unowned self] status, bits in
            guard status >= 0 else {
                interest = []
                return handler(.failed)
            }
            handler(Events(rawValue: bits & Events.watchable.rawValue))
        }
    }

    /// Watches for `events` from now on; an empty set stops.
    public func watch(_ events: Events) {
        guard events != interest, !handle.isClosed else { return }
        interest = events
        if events.isEmpty {
            _ = unsafe uv_poll_stop(handle.pointer())
        } else {
            _ = unsafe uv_poll_start(handle.pointer(), events.rawValue, pollReady)
        }
    }

    /// Stops watching for good. The descriptor may be closed as soon as this returns.
    public func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func pollReady(_ raw: UnsafeMutablePointer<uv_poll_t>?, _ status: Int32, _ events: Int32) {
    unsafe Handle.fire(raw, status: status, events: events)
}
