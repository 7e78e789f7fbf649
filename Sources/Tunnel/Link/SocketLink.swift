package import EventLoop
internal import Posix
package import Sockets

/// A link over a connected stream socket: Unix, vsock, or TCP below a cipher.
package final class SocketLink: Link {
    private let loop: Loop
    private var socket: Socket?
    private var poller: Poller?
    /// It owns this link.
    private unowned var owner: (any LinkOwner)?
    private var isWritableWatched = false

    /// Takes over a connected socket.
    package init(loop: Loop, socket: consuming Socket) {
        socket.enlargeStreamBuffers()
        self.loop = loop
        self.socket = consume socket
    }

    /// Starts reporting readiness to `owner`.
    package func attach(_ owner: any LinkOwner) {
        self.owner = owner
        guard let descriptor = socket?.descriptor else { return }
        // The loop watches the socket already accepted or connected on it: failing here means that
        // epoll is out of memory, and the session ends at its first deadline.
        poller = try? Poller(loop: loop, descriptor: descriptor) { [unowned self] in ready($0) }
        updateInterest()
    }

    private func ready(_ events: Poller.Events) {
        // An error is read, and reported, by the call that meets it.
        if events.contains(.failed) || events.contains(.readable) { owner?.linkReadable() }
        if events.contains(.writable) { owner?.linkWritable() }
        if events.contains(.failed), socket != nil { updateInterest() }
    }

    private func updateInterest() {
        poller?.watch(isWritableWatched ? Poller.Events.readable.union(.writable) : .readable)
    }

    /// Reads from the socket.
    package func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        guard socket != nil else { return 0 }
        return try linked { () throws(SystemError) in
            try socket!.read(into: buffer, limit: buffer.readLimit)
        }
    }

    /// Writes to the socket.
    package func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        guard socket != nil else { return nil }
        return try linked { () throws(SystemError) in try socket!.write(bytes) }
    }

    /// Adds or removes interest in writability.
    package func watchWritable(_ isWanted: Bool) {
        guard isWanted != isWritableWatched else { return }
        isWritableWatched = isWanted
        updateInterest()
    }

    /// Closes the socket.
    package func close() {
        poller?.close()
        poller = nil
        socket = nil
        owner = nil
    }
}
