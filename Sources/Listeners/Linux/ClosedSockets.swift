internal import EventLoop
internal import Posix
internal import Sockets

// sock_diag(7) announces every UDP socket that is destroyed, listener or not: a resolver or a client of QUIC closes them by
// the thousand. So one announcement is told at once, and then none for ``gap``: the descriptor is not watched meanwhile, what
// comes waits in its buffer or is dropped there, and one read of all that tells once more. A program that closes sockets
// without a pause costs twenty looks a second, however many it closes.
//
// TCP's groups are not joined: they announce every connection that ends, and the ring tells of listeners.

/// Tells that UDP sockets of this network namespace are gone. Owned by the watcher's loop.
final class ClosedSockets {
    /// The shortest time from one telling to the next, in milliseconds.
    static let gap: UInt64 = 50
    /// SKNLGRP_INET_UDP_DESTROY and SKNLGRP_INET6_UDP_DESTROY.
    private static let groups: [Int32] = [2, 4]

    private let diag: DiagSocket
    private let closed: () -> Void
    private var poller: Poller?
    private var pause: Timer?

    /// - Throws: ``SystemError`` where the kernel does not announce them, or not to this program.
    init(loop: Loop, _ closed: @escaping () -> Void) throws(SystemError) {
        diag = try DiagSocket()
        self.closed = closed
        // The kernel passes over sockets without a port of their own.
        try diag.bind(port: 0)
        for group in Self.groups { try diag.join(group: group) }
        pause = try Timer(loop: loop) { [unowned self] in poller?.watch(.readable) }
        do {
            poller = try Poller(loop: loop, descriptor: diag.descriptor) { [unowned self] _ in
                ready()
            }
        } catch {
            pause?.close()
            throw error
        }
        poller?.watch(.readable)
    }

    /// ENOBUFS, when announcements were dropped, comes as an error, and is one like any other.
    private func ready() {
        diag.drain()
        poller?.watch(.nothing)
        pause?.start(after: Self.gap)
        closed()
    }

    func close() {
        poller?.close()
        pause?.close()
    }
}
