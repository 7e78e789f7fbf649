package import TwinportModel

// What the two sides tell each other about forwards: docs/protocol.md, "Forwards". A forward has a number from the same
// space as listeners, which the host gives; OPEN names it like one.

extension ListenerID {
    private static let forwardBit: UInt32 = 1 << 31

    /// The n-th forward of a session. Listeners have the numbers below.
    package init(forward: UInt32) { self.init(rawValue: forward | Self.forwardBit) }

    /// Whether it is a forward's.
    package var isForward: Bool { rawValue & Self.forwardBit != 0 }

    /// The listener's number after this one; never a forward's.
    package var next: ListenerID { ListenerID(rawValue: (rawValue &+ 1) & (Self.forwardBit - 1)) }
}

/// FORWARD: what a host asks of its guest for one forward. It names the end in the guest, and never the one on the host.
package struct ForwardMessage: Equatable, Sendable {
    /// Its number.
    package var id: ListenerID
    /// Its place in the host's settings, from 1, for reports.
    package var position: UInt16
    /// Whether the guest is to listen at the place; otherwise it dials it.
    package var guestListens: Bool
    /// The end in the guest.
    package var place: ForwardPlace
    /// Of the Unix socket that the guest makes.
    package var access: SocketAccess

    /// Describes a forward.
    package init(
        id: ListenerID, position: UInt16, guestListens: Bool, place: ForwardPlace,
        access: SocketAccess
    ) {
        self.id = id
        self.position = position
        self.guestListens = guestListens
        self.place = place
        self.access = access
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
        writer.frame(.forward) { writer in
            writer.integer(id.rawValue)
            writer.integer(position)
            writer.integer(UInt8(guestListens ? 1 : 0))
            writer.text(place.text)
            writer.integer(access.mode)
            writer.integer(access.uid ?? .max)
            writer.integer(access.gid ?? .max)
        }
    }

    /// Reads a payload.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.forward, payload)
        id = try reader.forward(.forward, bytes)
        position = try reader.u16(bytes)
        guestListens = try reader.u8(bytes) & 1 != 0
        guard let place = ForwardPlace(try reader.text(bytes)) else {
            throw .badValue(.forward, "place")
        }
        self.place = place
        access = SocketAccess()
        access.mode = try reader.u16(bytes) & 0o777
        let (uid, gid) = (try reader.u32(bytes), try reader.u32(bytes))
        access.uid = uid == .max ? nil : uid
        access.gid = gid == .max ? nil : gid
        try reader.finish()
    }
}

/// FORWARD_STATE: how the sender's end of a forward fares. Sent again whenever that changes.
package struct ForwardStateMessage: Equatable, Sendable {
    /// The forward.
    package var id: ListenerID
    /// Of the side with the service: active when it is there. Of the side that listens: active when it does.
    package var state: MirrorState
    /// Why, in words; may be empty.
    package var reason: String

    /// Describes an end.
    package init(id: ListenerID, state: MirrorState, reason: String) {
        self.id = id
        self.state = state
        self.reason = reason
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
        writer.frame(.forwardState) { writer in
            writer.integer(id.rawValue)
            writer.integer(state.rawValue)
            writer.text(reason)
        }
    }

    /// Reads a payload.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        var reader = ByteReader(.forwardState, payload)
        id = try reader.forward(.forwardState, bytes)
        guard let state = MirrorState(rawValue: try reader.u8(bytes)) else {
            throw .badValue(.forwardState, "state")
        }
        self.state = state
        reason = try reader.text(bytes)
        try reader.finish()
    }
}

extension Frames {
    /// FORWARD_GONE: the settings do not have a forward any more.
    package static func writeForwardGone(_ id: ListenerID, to writer: inout ByteWriter) {
        writer.frame(.forwardGone) { $0.integer(id.rawValue) }
    }

    /// Reads FORWARD_GONE.
    package static func forwardGone(
        _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(WireError) -> ListenerID {
        var reader = ByteReader(.forwardGone, payload)
        let id = try reader.forward(.forwardGone, bytes)
        try reader.finish()
        return id
    }
}

extension ByteReader {
    fileprivate mutating func forward(
        _ type: FrameType, _ bytes: Span<UInt8>
    ) throws(WireError) -> ListenerID {
        let id = ListenerID(rawValue: try u32(bytes))
        guard id.isForward else { throw .badValue(type, "number") }
        return id
    }
}
