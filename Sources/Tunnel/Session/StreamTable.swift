internal import Wire

/// The streams that one of the two sides opened, by slot. Pure bookkeeping.
///
/// Slots rather than a dictionary: a lookup per frame costs an index and a comparison. Only the side that
/// opens chooses slots, so only its table keeps a list of free ones; in the other it would grow with every
/// stream.
struct StreamTable {
    /// No generation: 15 bits are in use.
    private static let never = UInt16.max

    private var slots: [TunnelStream?] = [nil]
    /// The generation of each slot's last use.
    private var generations: [UInt16] = [never]
    /// Slots that were used and are not, in the table of the side that opens.
    private(set) var free: [Int] = []
    private let isGuestOpened: Bool
    private let isOurs: Bool
    private let limit: Int
    private(set) var count = 0

    /// - Parameter isOurs: Whether this side opens these streams.
    init(isGuestOpened: Bool, isOurs: Bool, limit: Int) {
        self.isGuestOpened = isGuestOpened
        self.isOurs = isOurs
        self.limit = min(limit, StreamID.maxSlot)
    }

    /// The number for the next stream that we open; nil when the table is full. The number counts as
    /// used once ``insert(_:)`` follows.
    mutating func nextID() -> StreamID? {
        guard count < limit else { return nil }
        let slot = free.last ?? slots.count
        guard slot <= StreamID.maxSlot else { return nil }
        let last = slot < generations.count ? generations[slot] : Self.never
        return StreamID(
            slot: slot, generation: (last &+ 1) & 0x7fff, isGuestOpened: isGuestOpened)
    }

    /// Adds a stream.
    ///
    /// - Returns: False when its slot is in use, its generation is that of the slot's last use, or the
    ///   table is full.
    mutating func insert(_ stream: TunnelStream) -> Bool {
        let slot = stream.id.slot
        guard count < limit else { return false }
        while slots.count <= slot {
            slots.append(nil)
            generations.append(Self.never)
        }
        guard slots[slot] == nil, generations[slot] != stream.id.generation else { return false }
        if free.last == slot { free.removeLast() }
        slots[slot] = stream
        generations[slot] = stream.id.generation
        count += 1
        return true
    }

    /// The open stream with exactly this number.
    func lookup(_ id: StreamID) -> TunnelStream? {
        guard id.slot < slots.count, let stream = slots[id.slot], stream.id == id else {
            return nil
        }
        return stream
    }

    /// Frees the slot of a stream.
    mutating func remove(_ stream: TunnelStream) {
        let slot = stream.id.slot
        guard slot < slots.count, slots[slot] === stream else { return }
        slots[slot] = nil
        if isOurs { free.append(slot) }
        count -= 1
    }

    /// All open streams.
    var all: [TunnelStream] { slots.compactMap { $0 } }
}
