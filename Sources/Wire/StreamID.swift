/// The number of a stream: who opened it, its slot in the opener's table, and which use of that slot.
///
///     31            17 16            1 0
///     +---------------+---------------+-+
///     |  generation   |     slot      |g|     g: 1 = the guest opened it, 0 = the host did
///     +---------------+---------------+-+
///
/// A slot is used again only after both terminals were seen. The generation tells a frame of the new use
/// from a late one of the old: after one end has seen both terminals, a WINDOW or RESET that its peer sent
/// before may still be on the way. Because the transport keeps order, all such frames arrive before the
/// first frame of the next use, so any change of the number is enough.
@usableFromInline package struct StreamID: Hashable, Sendable {
    /// Slots run from 1 to this, on each side.
    @inlinable package static var maxSlot: Int { 0xffff }

    /// The number as sent.
    @usableFromInline package let rawValue: UInt32

    /// Reads a number as sent. Nil for slot 0, which nobody uses.
    @inlinable package init?(rawValue: UInt32) {
        self.rawValue = rawValue
        if slot == 0 { return nil }
    }

    /// Builds a number. `slot` is from 1 to ``maxSlot``; the generation wraps at 15 bits.
    @inlinable package init(slot: Int, generation: UInt16, isGuestOpened: Bool) {
        precondition((1...Self.maxSlot).contains(slot))
        rawValue =
            UInt32(generation & 0x7fff) << 17 | UInt32(slot) << 1 | (isGuestOpened ? 1 : 0)
    }

    /// Whether the guest opened the stream.
    @inlinable package var isGuestOpened: Bool { rawValue & 1 == 1 }
    /// The slot in the opener's table.
    @inlinable package var slot: Int { Int(rawValue >> 1 & 0xffff) }
    /// Which use of the slot this is, modulo 2^15.
    @inlinable package var generation: UInt16 { UInt16(truncatingIfNeeded: rawValue >> 17) }
}
