public import EventLoop
public import Posix
public import Sockets

/// A link over a connected stream socket: Unix, vsock, or TCP below a cipher.
public final class SocketLink: Link {
    private var socket: Socket?
    private var poller: Poller?
    /// It owns this link.
    private unowned var session: Session?
    private var isWritableWatched = false
    private let loop: Loop

    /// Takes over a connected socket.
    public init(loop: Loop, socket: consuming Socket) {
        socket.enlargeStreamBuffers()
        self.loop = loop
        self.socket = consume socket
    }

    /// Starts reporting readiness to `session`.
    public func attach(_ session: Session) {
        self.session = session
        guard let descriptor = socket?.descriptor else { return }
        // The loop watches the socket already accepted or connected on it: failing here means that
        // epoll is out of memory, and the session ends at its first deadline.
        poller = try? Poller(loop: loop, descriptor: descriptor) { [unowned self] in ready($0) }
        updateInterest()
    }

    private func ready(_ events: Poller.Events) {
        // An error is read, and reported, by the call that meets it.
        if events.contains(.failed) || events.contains(.readable) { session?.linkReadable() }
        if events.contains(.writable) { session?.pump() }
        if events.contains(.failed), socket != nil { updateInterest() }
    }

    private func updateInterest() {
        poller?.watch(isWritableWatched ? [.readable, .writable] : .readable)
    }

    /// Reads from the socket.
    public func read(into buffer: IOBuffer) throws(SystemError) -> Int? {
        guard socket != nil else { return 0 }
        return try socket?.read(into: buffer)
    }

    /// Writes to the socket.
    public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int? {
        try socket?.write(bytes)
    }

    /// Adds or removes interest in writability.
    public func watchWritable(_ isWanted: Bool) {
        guard isWanted != isWritableWatched else { return }
        isWritableWatched = isWanted
        updateInterest()
    }

    /// Closes the socket.
    public func close() {
        poller?.close()
        poller = nil
        socket = nil
        session = nil
    }
}
