internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import Wire

// A flow whose application is at a Unix socket: the end of a forward. It is dialled by somebody else, and then a flow like
// any other. A Unix socket cannot be reset: closing it looks like an end, or like a reset if it was sent what it did not read.

extension TCPFlow {
    /// How long it waits for room in the queue of a service that does not accept, in milliseconds.
    private static let patience: UInt64 = 500

    /// Has the service dialled, for a stream that the peer opened.
    ///
    /// - Parameter dial: Dials, and calls ``dialledUnix(_:_:)`` with what came of it; called again while there is no room.
    func dialUnix(for stream: TunnelStream, _ dial: @escaping (TCPFlow) -> Void) {
        self.stream = stream
        phase = .dialling([])
        extras.redial = dial
        dial(self)
    }

    /// Somebody dialled: goes on with the connection.
    func dialledUnix(_ connection: consuming Socket?, _ error: SystemError) {
        guard phase.isDialling, socket == nil else { return }
        guard let connection = connection.take() else {
            // EAGAIN: the queue of the service is full (unix(7)); the sweep tries again.
            if error.isBusy { return extras.nextLook = resources.loop.now + Self.patience }
            return error.isExhaustion ? refuseForLimit() : refuse(.refused)
        }
        socket = consume connection
        if let descriptor = socket?.descriptor, resources.isReserved(descriptor) {
            return refuseForLimit()
        }
        do {
            // Connected first: interest is then declared once.
            phase = .connected
            try watch()
            connected()
        } catch {
            refuseForLimit()
        }
    }

    /// Tries again to get into the queue of a service.
    func redialUnix(now: UInt64) {
        guard let redial = extras.redial, phase.isDialling, socket == nil, extras.nextLook > 0,
            now >= extras.nextLook
        else { return }
        extras.nextLook = 0
        redial(self)
    }
}
