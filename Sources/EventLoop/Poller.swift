internal import CLibuv
package import Posix

/// Watches one descriptor for readiness (`uv_poll_t`, level-triggered epoll underneath).
///
/// The descriptor stays the caller's: close the poller first, the descriptor right after. Interest is
/// changed with ``watch(_:)``; asking for what is already watched costs nothing.
///
/// An error on the descriptor (EPOLLERR: a TCP reset, a refused connect, a UDP ICMP error) stops the
/// poller and reports ``Events/failed``; the owner reads `SO_ERROR` and closes, or watches again.
package final class Poller {
    /// Kinds of readiness.
    ///
    /// What flows ask of it is spelled out and inlined: the generic algorithms of `OptionSet` are not specialised in
    /// other modules, and cost hundreds of instructions for each connection.
    @usableFromInline package struct Events: OptionSet, Sendable {
        /// The raw bits.
        @usableFromInline package let rawValue: Int32
        /// Wraps raw bits.
        @inlinable package init(rawValue: Int32) { self.rawValue = rawValue }

        /// Data, end of file or a connection to accept.
        @inlinable package static var readable: Events { Events(rawValue: 1) }
        /// Room to write, or a finished connect.
        @inlinable package static var writable: Events { Events(rawValue: 2) }
        /// Urgent data (EPOLLPRI), which hardly ever comes. Watched alone: neither data nor room, but errors and hang-ups
        /// are still reported, so that a paused flow learns of a reset.
        @inlinable package static var errorsOnly: Events { Events(rawValue: 8) }
        fileprivate static let watchable: Events = [.readable, .writable, .errorsOnly]
        /// Reported only, never watched: the descriptor has an error; the poller has stopped.
        @inlinable package static var failed: Events { Events(rawValue: 1 << 16) }
        /// No event at all.
        @inlinable package static var nothing: Events { Events(rawValue: 0) }

        /// Whether it has all of `other`.
        @inlinable package func contains(_ other: Events) -> Bool {
            rawValue & other.rawValue == other.rawValue
        }

        /// Whether it has none.
        @inlinable package var isEmpty: Bool { rawValue == 0 }

        /// All of both.
        @inlinable package func union(_ other: Events) -> Events {
            Events(rawValue: rawValue | other.rawValue)
        }

        /// Whether both are the same.
        @inlinable package static func == (one: Events, other: Events) -> Bool {
            one.rawValue == other.rawValue
        }

        /// Whether they differ.
        @inlinable package static func != (one: Events, other: Events) -> Bool {
            one.rawValue != other.rawValue
        }
    }

    private let handle: Handle
    /// What is watched now.
    package private(set) var interest = Events.nothing

    /// Prepares to watch `descriptor`, which must be non-blocking and have no other poller.
    ///
    /// - Throws: ``SystemError``, as with a descriptor that epoll cannot watch.
    package init(
        loop: Loop, descriptor: Int32, handler: @escaping (Events) -> Void
    ) throws(SystemError) {
        handle = try unsafe Handle(UV_POLL, "uv_poll_init") { raw in
            unsafe uv_poll_init(
                loop.raw, raw.assumingMemoryBound(to: uv_poll_t.self), descriptor)
        }
        handle.onFire { [unowned self] status, bits in
            guard status >= 0 else {
                interest = .nothing
                return handler(.failed)
            }
            handler(Events(rawValue: bits & Events.watchable.rawValue))
        }
    }

    /// Watches for `events` from now on; an empty set stops.
    package func watch(_ events: Events) {
        guard events != interest, !handle.isClosed else { return }
        interest = events
        if events.isEmpty {
            _ = unsafe uv_poll_stop(handle.pointer())
        } else {
            _ = unsafe uv_poll_start(handle.pointer(), events.rawValue, pollReady)
        }
    }

    /// Stops watching for good. The descriptor may be closed as soon as this returns.
    package func close() {
        handle.close()
    }

    deinit {
        handle.close()
    }
}

private func pollReady(_ raw: UnsafeMutablePointer<uv_poll_t>?, _ status: Int32, _ events: Int32) {
    unsafe Handle.fire(raw, status: status, events: events)
}
