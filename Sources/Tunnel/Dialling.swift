internal import Addresses
internal import EventLoop
internal import Posix
internal import Sockets

/// One attempt to reach a tunnel address.
final class Dialling {
    enum Outcome {
        case connected
        case failed(SystemError)
    }

    private var socket: Socket?
    private var poller: Poller?
    private var isConnected: Bool
    private let finished: (Outcome) -> Void

    /// Begins to connect; ``start()`` reports the outcome, at once or later.
    ///
    /// - Throws: ``SystemError``, ``LoopError``.
    init(loop: Loop, uri: TunnelURI, finished: @escaping (Outcome) -> Void) throws {
        self.finished = finished
        var dial = try Self.dial(uri)
        isConnected = dial.isConnected
        socket = dial.takeSocket()
        guard !isConnected, let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: loop, descriptor: descriptor) { [unowned self] _ in ready() }
    }

    private static func dial(_ uri: TunnelURI) throws(SystemError) -> Socket.Dial {
        switch uri {
        case .unix(let path): return try Socket.dialUnix(path)
        case .vsock(let cid, let port): return try Socket.dialVsock(cid: cid ?? 2, port: port)
        }
    }

    func start() {
        if isConnected { finished(.connected) } else { poller?.watch(.writable) }
    }

    private func ready() {
        guard socket != nil else { return }
        if let error = socket!.takeError("connect") { return finished(.failed(error)) }
        isConnected = true
        finished(.connected)
    }

    /// The connected socket, once.
    func takeSocket() -> Socket? {
        poller?.close()
        poller = nil
        return isConnected ? socket.take() : nil
    }

    func close() {
        poller?.close()
        poller = nil
        if !isConnected { socket = nil }
    }
}
