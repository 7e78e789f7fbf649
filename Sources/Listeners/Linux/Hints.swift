internal import EventLoop
internal import Posix
internal import Sockets

// Ways in which the kernel says "look now". None is needed; each only starts a scan:
//
//   · the programs of ``SocketEventRing``: TCP sockets that begin or end listening, for every network namespace; and
//     binds. They need root. Their account also says whether anything happened at all, at the price of a read of
//     memory: that is what the order of listeners and bytes rests on (`Mirroring/Listeners/OrderGate.swift`).
//   · netlink groups that announce destroyed UDP sockets, in our namespace: ``ClosedSockets``.

/// Wakes its owner when listeners may have changed. Owned by the watcher's loop.
final class Hints {
    private let ring: SocketEventRing?
    private var ringPoller: Poller?
    private let closedSockets: ClosedSockets?
    /// What was taken from the ring, and not handed on yet.
    private var taken: (events: [SocketEvent], position: UInt64) = ([], 0)

    /// Whether the kernel announces new TCP listeners and binds.
    var tellsOfListen: Bool { ringPoller != nil }

    /// Turns on what the kernel permits.
    ///
    /// - Parameters:
    ///   - wake: A listener may have come or gone, and may not show yet.
    ///   - closed: A UDP socket is gone.
    init(
        loop: Loop, ring: SocketEventRing?, wake: @escaping () -> Void,
        closed: @escaping () -> Void
    ) {
        self.ring = ring
        closedSockets = try? ClosedSockets(loop: loop, closed)
        if let ring {
            ringPoller = try? Poller(loop: loop, descriptor: ring.descriptor) {
                [unowned self] _ in
                takeFromRing()
                wake()
            }
            ringPoller?.watch(.readable)
        }
    }

    /// The events since the last call.
    func takeEvents() -> (events: [SocketEvent], position: UInt64) {
        takeFromRing()
        defer { taken.events = [] }
        return taken
    }

    private func takeFromRing() {
        guard let ring else { return }
        taken.position = ring.take { taken.events.append($0) }
    }

    func close() {
        ringPoller?.close()
        closedSockets?.close()
    }
}
