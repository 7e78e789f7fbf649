internal import EventLoop
internal import Posix
internal import Sockets

// Ways in which the kernel says "look now". None is needed; each only starts a scan:
//
//   · the programs of ``SocketEventRing``: TCP sockets that begin or end listening, for every network namespace; and
//     binds. They need root. Their account also says whether anything happened at all, at the price of a read of
//     memory: that is what the order of listeners and bytes rests on (`Mirroring/Listeners/OrderGate.swift`).
//   · netlink groups that announce destroyed sockets: closes only, in our namespace. UDP always; TCP only
//     without the programs, because every closed connection is announced.

/// Wakes its owner when listeners may have changed. Owned by the watcher's loop.
final class Hints {
    private let ring: SocketEventRing?
    private var ringPoller: Poller?
    private var diag: DiagSocketBox?
    private var diagPoller: Poller?
    /// What was taken from the ring, and not handed on yet.
    private var taken: (events: [SocketEvent], position: UInt64) = ([], 0)
    private static let udpDestroyed: [Int32] = [2, 4]
    private static let tcpDestroyed: [Int32] = [1, 3]

    /// Whether the kernel announces new TCP listeners and binds.
    var tellsOfListen: Bool { ringPoller != nil }

    /// Turns on what the kernel permits.
    init(loop: Loop, ring: SocketEventRing?, wake: @escaping () -> Void) {
        self.ring = ring
        if let ring {
            ringPoller = try? Poller(loop: loop, descriptor: ring.descriptor) {
                [unowned self] _ in
                takeFromRing()
                wake()
            }
            ringPoller?.watch(.readable)
        }
        watchDestroyed(loop, wake)
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

    private func watchDestroyed(_ loop: Loop, _ wake: @escaping () -> Void) {
        guard let diag = try? DiagSocketBox() else { return }
        let groups = tellsOfListen ? Self.udpDestroyed : Self.udpDestroyed + Self.tcpDestroyed
        for group in groups where !diag.join(group) { return }
        self.diag = diag
        diagPoller = try? Poller(loop: loop, descriptor: diag.socket.descriptor) {
            [unowned self, unowned diag] events in
            diag.socket.drain()
            // ENOBUFS shows as an error and stops the poller.
            if events.contains(.failed) { diagPoller?.watch(.readable) }
            wake()
        }
        diagPoller?.watch(.readable)
    }

    func close() {
        ringPoller?.close()
        diagPoller?.close()
        diag = nil
    }

    private final class DiagSocketBox {
        let socket: DiagSocket
        init() throws(SystemError) { socket = try DiagSocket() }
        func join(_ group: Int32) -> Bool { (try? socket.join(group: group)) != nil }
    }
}
