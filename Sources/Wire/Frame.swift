// # Frames
//
//      0               1               2               3
//      +---------------+---------------------------------------------+
//      |     type      |             length (24 bit)                 |
//      +---------------+---------------------------------------------+
//      |                     stream (32 bit)                         |
//      +-------------------------------------------------------------+
//      |                payload, `length` bytes …                    |
//
// All integers are little-endian. Stream 0 is the session itself. docs/protocol.md is the
// specification; the raw values and limits here are the same as there.

/// What a frame says. Raw values from 0x80 up are reserved for extensions that old peers may skip.
@usableFromInline package enum FrameType: UInt8, Sendable, CaseIterable {
    /// The sender's versions, limits and names. The first frame each way.
    case hello = 0x01
    /// One listener of the sender.
    case listener = 0x02
    /// A listener is gone.
    case listenerGone = 0x03
    /// How the mirror of one of the receiver's listeners fares.
    case mirror = 0x04
    /// "What I advertised since HELLO is my whole set."
    case sync = 0x05
    /// What the host's settings ask of the guest.
    case policy = 0x06
    /// Begins a stream to a listener.
    case open = 0x10
    /// The listener answered.
    case opened = 0x11
    /// It did not; the last frame of this stream from the sender.
    case refused = 0x12
    /// Bytes.
    case data = 0x13
    /// No more bytes from the sender.
    case fin = 0x14
    /// How far the receiver of this frame may send.
    case window = 0x15
    /// The stream is over, at once and both ways; the sender's last frame on it.
    case reset = 0x16
    /// One datagram.
    case datagram = 0x17
    /// "Are you there?"
    case ping = 0x20
    /// "Yes."
    case pong = 0x21
    /// The session ends, and why.
    case goAway = 0x22
    /// The answers of a UDP stream come from another port than the one that was asked.
    case moved = 0x80
    /// The listener's application wants a dead client of this TCP stream to be noticed.
    case keepAlive = 0x81
    /// One urgent byte, at its place among the bytes of DATA.
    case urgent = 0x82
    /// A socket of the sender that no mirror can stand for, and why. For the report; old peers skip it.
    case oddSocket = 0x84
    /// How many datagrams the sender of this has taken since the session began.
    case taken = 0x88
    /// A listener of a host, and where in the guest its mirror is to be.
    case placedListener = 0x8c
    /// A host asks its guest for one end of a forward.
    case forward = 0x90
    /// The host's settings do not have a forward any more.
    case forwardGone = 0x91
    /// How the sender's end of a forward fares.
    case forwardState = 0x92
}

/// The first eight bytes of a frame.
@usableFromInline package struct FrameHeader: Hashable, Sendable {
    /// How many bytes a header takes.
    @inlinable package static var size: Int { 8 }
    /// The most bytes a DATA frame carries.
    @inlinable package static var maxData: Int { 262_144 }
    /// The most bytes any other frame carries.
    @inlinable package static var maxControl: Int { 65_535 }

    /// The type as sent, known or not.
    @usableFromInline package var rawType: UInt8
    /// How many payload bytes follow.
    @usableFromInline package var length: Int
    /// The stream as sent, 0 for the session.
    @usableFromInline package var stream: UInt32

    /// Builds a header. `length` is below 2^24.
    @inlinable package init(_ type: FrameType, length: Int, stream: UInt32 = 0) {
        self.init(rawType: type.rawValue, length: length, stream: stream)
    }

    /// Builds a header of any type. `length` is below 2^24.
    @inlinable package init(rawType: UInt8, length: Int, stream: UInt32) {
        self.rawType = rawType
        self.length = length
        self.stream = stream
    }

    /// The type, if this version knows it.
    @inlinable package var type: FrameType? { FrameType(rawValue: rawType) }

    /// The eight bytes as one little-endian number, ready to be stored.
    @inlinable package var packed: UInt64 {
        UInt64(rawType) | UInt64(truncatingIfNeeded: length) << 8 | UInt64(stream) << 32
    }

    /// Reads the eight bytes as one little-endian number.
    @inlinable package init(packed: UInt64) {
        rawType = UInt8(truncatingIfNeeded: packed)
        length = Int(truncatingIfNeeded: packed >> 8 & 0xff_ffff)
        stream = UInt32(truncatingIfNeeded: packed >> 32)
    }
}
