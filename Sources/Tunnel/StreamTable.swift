internal import Wire

/// The streams that one of the two sides opened, by slot. Pure bookkeeping.
///
/// Slots rather than a dictionary: a lookup per frame costs an index and a comparison.
struct StreamTable {
    private var slots: [TunnelStream?] = [nil]
    private var generations: [UInt16] = [0]
    private var free: [Int] = []
    private let isGuestOpened: Bool
    private let limit: Int
    private(set) var count = 0

    init(isGuestOpened: Bool, limit: Int) {
        self.isGuestOpened = isGuestOpened
        self.limit = min(limit, StreamID.maxSlot)
    }

    /// The number for the next stream that we open; nil when the table is full. The number counts as
    /// used once ``insert(_:)`` follows.
    mutating func nextID() -> StreamID? {
        guard count < limit else { return nil }
        let slot = free.last ?? slots.count
        guard slot <= StreamID.maxSlot else { return nil }
        let generation = slot < generations.count ? generations[slot] : 0
        return StreamID(slot: slot, generation: generation, isGuestOpened: isGuestOpened)
    }

    /// Adds a stream.
    ///
    /// - Returns: False when its slot is in use or the table is full.
    mutating func insert(_ stream: TunnelStream) -> Bool {
        let slot = stream.id.slot
        guard count < limit else { return false }
        while slots.count <= slot {
            slots.append(nil)
            generations.append(0)
        }
        guard slots[slot] == nil else { return false }
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

    /// Frees the slot of a stream; its next use has the next generation.
    mutating func remove(_ stream: TunnelStream) {
        let slot = stream.id.slot
        guard slot < slots.count, slots[slot] === stream else { return }
        slots[slot] = nil
        generations[slot] = (generations[slot] &+ 1) & 0x7fff
        free.append(slot)
        count -= 1
    }

    /// All open streams.
    var all: [TunnelStream] { slots.compactMap { $0 } }
}
