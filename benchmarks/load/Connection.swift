internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// One TCP connection of the load, on its loop.
///
/// A dial that is still under way needs no state of its own: until it stands, reading and writing say
/// "not yet", and one that fails is reported as ``Poller/Events/failed``.
final class Connection {
    private var socket: Socket?
    private var poller: Poller?
    private let loop: Loop

    /// Takes over an accepted socket; ``start(_:)`` follows.
    init(loop: Loop, socket: consuming Socket) {
        self.loop = loop
        self.socket = consume socket
    }

    /// Dials; ``start(_:)`` follows.
    init(loop: Loop, to endpoint: Endpoint) throws {
        self.loop = loop
        var dial = try Socket.dialTCP(endpoint)
        socket = dial.takeSocket()
    }

    /// Calls `ready` for everything watched from now on.
    func start(
        _ interest: Poller.Events, _ ready: @escaping (Poller.Events) -> Void
    ) throws {
        guard let descriptor = socket?.descriptor else { return }
        poller = try Poller(loop: loop, descriptor: descriptor, handler: ready)
        poller?.watch(interest)
    }

    var isOpen: Bool { socket != nil }

    func watch(_ interest: Poller.Events) {
        poller?.watch(interest)
    }

    /// How many bytes came, 0 at the end, nil when none are there yet.
    func read(into buffer: IOBuffer, limit: Int = .max) throws(SystemError) -> Int? {
        try socket?.read(into: buffer, limit: limit)
    }

    /// How many bytes went, nil when none can now.
    func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int? {
        try socket?.write(bytes)
    }

    /// Writes as much of `buffer` as goes.
    ///
    /// - Returns: Whether all of it went.
    func write(all buffer: IOBuffer) throws(SystemError) -> Bool {
        while !buffer.isEmpty {
            let written = try buffer.withReadable { (bytes) throws(SystemError) in
                try socket?.write(bytes)
            }
            guard let written else { return false }
            buffer.consume(written)
        }
        return true
    }

    /// Sends FIN.
    func finish() {
        // A connection that died meanwhile says so to the next read.
        try? socket?.shutdownWrite()
    }

    func close(resetting: Bool = false) {
        if resetting { socket?.resetOnClose() }
        poller?.close()
        poller = nil
        socket = nil
    }
}

extension IOBuffer {
    /// A buffer full of `count` bytes that nobody looks at.
    static func filled(_ count: Int) -> IOBuffer {
        let buffer = IOBuffer(capacity: count)
        for index in 0..<count { buffer.append(UInt8(truncatingIfNeeded: index &* 31)) }
        return buffer
    }
}
