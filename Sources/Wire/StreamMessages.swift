package import TwinportModel

// What the two sides tell each other about streams, and about the session as such.

/// OPEN: a client came to a mirror.
package struct OpenMessage: Equatable, Sendable {
    /// Which of the receiver's listeners it wants. The only thing that decides what is dialled.
    package var listener: ListenerID
    /// TCP or UDP; must be the listener's.
    package var transport: TransportProtocol
    /// How many bytes the receiver may send before the first WINDOW.
    package var window: UInt32
    /// Where the client called from, for reports and for what the listener sees.
    package var client: Endpoint
    /// Which address of the mirror it called, for reports and for the choice between IPv4 and IPv6.
    package var dialled: Endpoint

    /// Describes a client.
    package init(
        listener: ListenerID, transport: TransportProtocol, window: UInt32, client: Endpoint,
        dialled: Endpoint
    ) {
        self.listener = listener
        self.transport = transport
        self.window = window
        self.client = client
        self.dialled = dialled
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter, stream: StreamID) {
        writer.frame(.open, stream: stream.rawValue) { writer in
            writer.integer(listener.rawValue)
            writer.integer(transport.rawValue)
            writer.integer(window)
            writer.endpoint(client)
            writer.endpoint(dialled)
        }
    }

    /// Reads a payload.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.open, payload)
        listener = ListenerID(rawValue: try reader.u32(bytes))
        guard let transport = TransportProtocol(rawValue: try reader.u8(bytes)) else {
            throw .badValue(.open, "protocol")
        }
        self.transport = transport
        window = try reader.u32(bytes)
        client = try reader.endpoint(.open, bytes)
        dialled = try reader.endpoint(.open, bytes)
        try reader.finish()
    }
}

/// Why a stream ended, in REFUSED and RESET. Unknown codes read as ``other``.
package enum ResetCode: UInt16, Error, Sendable {
    /// No reason given.
    case other = 0
    /// The application reset its connection, or closed it with data unread.
    case reset = 1
    /// Nobody listens at the target any more.
    case refused = 2
    /// The target did not answer in time.
    case timedOut = 3
    /// The listener's number is not one that is offered (now).
    case unknownListener = 4
    /// A limit was reached.
    case limit = 5
    /// Host networking was switched off, or the mirror withdrawn.
    case disabled = 6
    /// The peer broke a rule of this stream, as sending past its credit.
    case violation = 7
    /// The flow was idle, or gave way to a newer one (UDP).
    case expired = 8
    /// The tunnel is gone. Never sent.
    case tunnelLost = 9
}

/// Why a session ended, in GOAWAY. Unknown codes read as ``other``.
package enum GoAwayCode: UInt16, Sendable {
    /// No reason given.
    case other = 0
    /// The program is shutting down.
    case shutdown = 1
    /// No common version; the reason names both ranges.
    case version = 2
    /// Bytes that are not the protocol.
    case protocolError = 3
    /// Too much, too fast.
    case calm = 4
    /// Another session is alive.
    case busy = 5
    /// Nothing was heard for too long.
    case timeout = 6
    /// This peer may not talk to us: wrong role, wrong operating system.
    case notAllowed = 7
}

/// The small frames.
package enum Frames {
    /// LISTENER_GONE.
    package static func writeGone(_ id: ListenerID, to writer: inout ByteWriter) {
        writer.frame(.listenerGone) { $0.integer(id.rawValue) }
    }

    /// Reads LISTENER_GONE.
    package static func gone(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> ListenerID {
        ListenerID(rawValue: try single(UInt32.self, .listenerGone, bytes, payload))
    }

    /// SYNC, PING, PONG or TAKEN, which carry one number.
    package static func writeNumber(
        _ type: FrameType, _ number: UInt64, to writer: inout ByteWriter
    ) {
        writer.frame(type) { $0.integer(number) }
    }

    /// Reads SYNC, PING, PONG or TAKEN.
    package static func number(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> UInt64 {
        try single(UInt64.self, type, bytes, payload)
    }

    /// OPENED, with the window of the side that dialled.
    package static func writeOpened(
        _ stream: StreamID, window: UInt32, to writer: inout ByteWriter
    ) {
        writer.frame(.opened, stream: stream.rawValue) { $0.integer(window) }
    }

    /// Reads OPENED.
    package static func opened(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> UInt32 {
        try single(UInt32.self, .opened, bytes, payload)
    }

    /// REFUSED or RESET.
    package static func writeEnd(
        _ type: FrameType, _ stream: StreamID, _ code: ResetCode, to writer: inout ByteWriter
    ) {
        writer.frame(type, stream: stream.rawValue) { $0.integer(code.rawValue) }
    }

    /// Reads REFUSED or RESET.
    package static func end(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> ResetCode {
        ResetCode(rawValue: try single(UInt16.self, type, bytes, payload)) ?? .other
    }

    /// FIN.
    package static func writeFin(_ stream: StreamID, to writer: inout ByteWriter) {
        writer.frame(.fin, stream: stream.rawValue)
    }

    /// WINDOW: the receiver may send up to `offset` bytes, counted from the stream's first.
    package static func writeWindow(
        _ stream: StreamID, offset: UInt64, to writer: inout ByteWriter
    ) {
        writer.frame(.window, stream: stream.rawValue) { $0.integer(offset) }
    }

    /// Reads WINDOW.
    package static func window(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> UInt64 {
        try single(UInt64.self, .window, bytes, payload)
    }

    /// MOVED: the sender's datagrams on this stream come from `port` of the listener's address.
    package static func writeMoved(_ stream: StreamID, port: UInt16, to writer: inout ByteWriter) {
        writer.frame(.moved, stream: stream.rawValue) { $0.integer(port) }
    }

    /// Reads MOVED.
    package static func moved(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> UInt16 {
        try single(UInt16.self, .moved, bytes, payload)
    }

    /// KEEPALIVE: after so many seconds of silence the client is to be probed.
    package static func writeKeepAlive(
        _ stream: StreamID, seconds: UInt16, to writer: inout ByteWriter
    ) {
        writer.frame(.keepAlive, stream: stream.rawValue) { $0.integer(seconds) }
    }

    /// Reads KEEPALIVE.
    package static func keepAlive(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> UInt16 {
        try single(UInt16.self, .keepAlive, bytes, payload)
    }

    /// GOAWAY.
    package static func writeGoAway(
        _ code: GoAwayCode, _ reason: String, to writer: inout ByteWriter
    ) {
        writer.frame(.goAway) { writer in
            writer.integer(code.rawValue)
            writer.text(reason)
        }
    }

    /// Reads GOAWAY.
    package static func goAway(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> (GoAwayCode, String) {
        var reader = ByteReader(.goAway, payload)
        let code = GoAwayCode(rawValue: try reader.u16(bytes)) ?? .other
        let reason = try reader.text(bytes)
        try reader.finish()
        return (code, reason)
    }

    private static func single<Integer: FixedWidthInteger & UnsignedInteger>(
        _: Integer.Type, _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> Integer {
        var reader = ByteReader(type, payload)
        let value = try reader.integer(Integer.self, in: bytes)
        try reader.finish()
        return value
    }
}
