package import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

// For a thread that has a few sockets and no loop: it waits in poll(2), which needs no descriptor of its own.

/// One socket that a thread waits for, and whether it is ready.
package struct AwaitedSocket: Sendable {
    /// The socket's descriptor. The caller keeps the socket open while it waits.
    fileprivate let descriptor: Int32
    fileprivate let wantsToWrite: Bool
    /// Whether a call on it would not block; also when its other end is gone.
    package fileprivate(set) var isReady = false

    /// Waits for room to write, or for something to read.
    package init(_ socket: borrowing Socket, toWrite: Bool = false) {
        descriptor = socket.descriptor
        wantsToWrite = toWrite
    }

    /// Blocks until one of the sockets is ready, and marks which are. A signal may end it with none.
    ///
    /// - Parameter milliseconds: How long at most; nil: without end.
    package static func wait(for sockets: inout [Self], atMost milliseconds: Int32?) {
        var entries = sockets.map { socket in
            pollfd(
                fd: socket.descriptor, events: Int16(socket.wantsToWrite ? POLLOUT : POLLIN),
                revents: 0)
        }
        let count = unsafe poll(&entries, nfds_t(entries.count), milliseconds ?? -1)
        // ENOMEM, and nothing that lasts: the caller tries again, without taking a core.
        if count < 0, errno != EINTR { usleep(100_000) }
        for index in sockets.indices {
            sockets[index].isReady = count > 0 && entries[index].revents != 0
        }
    }
}

extension Socket {
    /// Reads at most `limit` bytes.
    ///
    /// - Returns: The bytes, none at the end of the stream, nil when none are there yet.
    package borrowing func read(atMost limit: Int) throws(SystemError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        let raw = descriptor
        let count = try nonBlocking("recv") { unsafe recv(raw, &bytes, limit, 0) }
        return count.map { Array(bytes.prefix($0)) }
    }

    /// Ends both directions. A thread that waits for the socket, also for a listening one, wakes up.
    package borrowing func shutdownBoth() {
        // Fails only on a socket that is dead already.
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
    }
}
