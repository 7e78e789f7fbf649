import Glibc
import Posix
import Sockets
import TwinportModel

/// Waits until a descriptor is ready, five seconds at most.
func wait(_ descriptor: Int32, for events: Int32 = POLLIN) {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    poll(&entry, 1, 5_000)
}

/// The two ends of a TCP connection over loopback.
struct Pair: ~Copyable {
    let client: Socket
    let server: Socket

    init() throws {
        let listener = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: false)
        try listener.listenForConnections()
        var dial = try Socket.dialTCP(listener.localEndpoint())
        wait(listener.descriptor)
        guard let client = dial.takeSocket(), let server = try listener.accept() else {
            throw SystemError("accept", EAGAIN)
        }
        self.client = consume client
        self.server = consume server
    }

    /// Closes the server's end and keeps the client's.
    consuming func takeClient() -> Socket { client }
}

/// A path in /tmp that no other test has.
func temporaryPath(_ name: String) -> String {
    "/tmp/twinport-sockets-\(getpid())-\(UInt32.random(in: 0...(.max)))-\(name)"
}

extension Socket {
    /// Writes an array whole; false when the kernel took less.
    borrowing func say(_ bytes: [UInt8]) throws -> Bool {
        try write(bytes.span) == bytes.count
    }

    /// Waits, then reads what there is: nil: nothing came, empty: the end.
    borrowing func hear() throws -> [UInt8]? {
        let buffer = IOBuffer(capacity: 65_536)
        wait(descriptor)
        guard try read(into: buffer) != nil else { return nil }
        return buffer.withReadable { [UInt8](copying: $0) }
    }
}

/// What a call throws, as an errno; 0 when it does not.
func code(_ body: () throws -> Void) -> Int32 {
    do {
        try body()
        return 0
    } catch {
        return (error as? SystemError)?.code ?? -1
    }
}

// `#expect` and `#require` cannot hold what may not be copied.

/// The socket, which must be there.
func unwrap(_ socket: consuming Socket?) throws -> Socket {
    guard let socket = consume socket else { throw SystemError("unwrap", ENOENT) }
    return socket
}

/// Whether there is no socket.
func isNothing(_ socket: consuming Socket?) -> Bool {
    if let socket = consume socket { return socket.descriptor < 0 }
    return true
}
