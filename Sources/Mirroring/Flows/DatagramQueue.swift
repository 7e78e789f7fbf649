internal import DequeModule
internal import Sockets

/// What all datagram queues of a forwarder may hold together. Loop thread only.
final class DatagramBudget {
    /// With ``DatagramQueue/overhead`` for each.
    static let maxBytes = 16 << 20
    /// Beyond so much memory no queue keeps a block that is much larger than what waits in it.
    static let fewBlockBytes = 24 << 20
    /// How many bytes of memory are kept for queues that fill next, and in how many blocks.
    static let mostSpare = (bytes: 1 << 20, blocks: 64)

    fileprivate(set) var bytes = 0
    /// The memory of all queues' blocks. A queue that drains, or got a block of another's, may hold much more than what
    /// waits in it.
    fileprivate(set) var blockBytes = 0
    private(set) var spareBytes = 0
    fileprivate var isShort: Bool { blockBytes >= Self.fewBlockBytes }
    private var spare: [[UInt8]] = []
    /// The one that came back last, and is needed next while no two queues fill at once. It is exchanged, which needs no
    /// check of exclusive access at run time, as calls on a list do (docs/performance.md, "What Swift adds").
    private var latest: [UInt8] = []

    /// Memory for a queue that begins to fill. When memory is short there is none, and the queue gets as little as it
    /// needs: one datagram would keep a large block otherwise.
    fileprivate func takeBlock() -> [UInt8] {
        guard !isShort else { return [] }
        var block: [UInt8] = []
        swap(&block, &latest)
        if block.capacity == 0 {
            guard let other = spare.popLast() else { return [] }
            block = other
        }
        spareBytes -= block.capacity
        return block
    }

    /// Takes the memory of a queue that is empty again.
    fileprivate func giveBack(_ block: consuming [UInt8]) {
        let size = block.capacity
        guard size > 0, spare.count < Self.mostSpare.blocks - 1,
            spareBytes + size <= Self.mostSpare.bytes
        else { return }
        block.removeAll(keepingCapacity: true)
        spareBytes += size
        swap(&block, &latest)
        if block.capacity > 0 { spare.append(block) }
    }
}

/// Datagrams of one flow that wait for their turn on the tunnel: at most 64, at most 256 KiB, or 512 and 512 KiB where
/// packets bring several; then the oldest makes room and is counted. When all queues together hold too much, a flow
/// keeps what it has and the newcomer is dropped.
///
/// They lie one behind the other in one block of memory, which an empty queue gives back for others: a datagram costs
/// no allocation, and an idle flow next to nothing. A nearly empty queue may keep a large block, which no bound on
/// datagrams sees; when such blocks become too many, it exchanges its own for a small one.
///
/// The owner of a queue calls ``removeAll()`` when the flow ends.
struct DatagramQueue {
    static let maxCount = 64
    static let maxBytes = 256 << 10
    /// The same where packets bring many datagrams each: how many there are is known when they are here.
    static let mostInPackets = (count: 512, bytes: 512 << 10)
    /// The payload of the largest datagram: over IPv6, whose length counts no header of its own (RFC 8200 §3).
    static let largest = 65_527
    /// What a datagram costs beside its bytes.
    static let overhead = 64
    /// While memory is short, a block with so many free bytes at its begin may be exchanged for a smaller one.
    private static let mostFreed = 4 << 10

    private let budget: DatagramBudget
    private var block: [UInt8] = []
    /// Where the oldest datagram begins in it.
    private var head = 0
    /// What `budget` was told of the block's memory.
    private(set) var capacity = 0
    private var sizes = Deque<Int32>()
    /// Whether `sizes` has grown to more than most queues ever need. It would keep that memory.
    private var hasManySizes = false
    private var bytes: Int { block.count - head }

    init(_ budget: DatagramBudget) {
        self.budget = budget
    }

    var isEmpty: Bool { sizes.isEmpty }

    /// How much waits.
    struct Load {
        var count = 0
        /// Of payload.
        var bytes = 0
    }

    var load: Load { Load(count: sizes.count, bytes: bytes) }

    /// Whether one more datagram, as large as they can be, could make an older one go.
    var isFull: Bool {
        sizes.count >= Self.maxCount || bytes > Self.maxBytes - Self.largest
    }

    /// Whether a good part of it is free.
    var hasRoom: Bool {
        sizes.count <= Self.maxCount / 2 && bytes <= Self.maxBytes / 2
    }

    /// Adds a datagram.
    ///
    /// - Parameter inPackets: Whether packets of several come from where it came.
    /// - Returns: How many were dropped: older ones for it, or itself.
    mutating func push(_ span: Span<UInt8>, inPackets: Bool = false) -> Int {
        // One that came alone does not make those go that waited before it: they came in packets.
        let isLarge = inPackets || sizes.count > Self.maxCount || bytes > Self.maxBytes
        let most = isLarge ? Self.mostInPackets : (count: Self.maxCount, bytes: Self.maxBytes)
        var dropped = 0
        while sizes.count >= most.count || (bytes + span.count > most.bytes && !sizes.isEmpty) {
            removeFirst()
            dropped += 1
        }
        let cost = span.count + Self.overhead
        guard budget.bytes + cost <= DatagramBudget.maxBytes else { return dropped + 1 }
        makeRoom(for: span.count)
        block.append(copying: span)
        sizes.append(Int32(span.count))
        if sizes.count > Self.maxCount { hasManySizes = true }
        budget.bytes += cost
        return dropped
    }

    /// Makes the block large enough, and little larger than what waits.
    private mutating func makeRoom(for size: Int) {
        if block.capacity == 0 {
            block = budget.takeBlock()
            noteCapacity()
        }
        guard block.count + size > block.capacity else { return }
        if head > bytes / 4 {
            block.removeSubrange(..<head)
            head = 0
        }
        let needed = block.count + size
        guard needed > block.capacity else { return }
        // With a full queue and a quarter more, so that what lies before `head` is removed once for many datagrams.
        let most = Self.mostInPackets.bytes / 4 * 5
        block.reserveCapacity(max(needed, min(2 * block.capacity, most)))
        noteCapacity()
    }

    private mutating func noteCapacity() {
        budget.blockBytes += block.capacity - capacity
        capacity = block.capacity
    }

    /// Moves the oldest datagram into `buffer`.
    ///
    /// - Returns: Its size, nil when it is larger than `limit`. The queue must not be empty.
    mutating func pop(into buffer: IOBuffer, limit: Int) -> Int? {
        guard let first = sizes.first, first <= limit else { return nil }
        let size = Int(first)
        buffer.append(block.span.extracting(head..<(head + size)))
        removeFirst()
        return size
    }

    /// Forgets what waits.
    mutating func removeAll() {
        budget.bytes -= bytes + sizes.count * Self.overhead
        sizes.removeAll()
        clearBlock()
    }

    private mutating func removeFirst() {
        let size = Int(sizes.removeFirst())
        head += size
        budget.bytes -= size + Self.overhead
        if sizes.isEmpty {
            clearBlock()
        } else if head >= Self.mostFreed, budget.isShort, head > 3 * bytes {
            // Not at other times: most queues that come to this are empty in a moment, and others fill their block next.
            block = Array(block[head...])
            head = 0
            noteCapacity()
        }
    }

    private mutating func clearBlock() {
        head = 0
        if hasManySizes {
            sizes = Deque()
            hasManySizes = false
        }
        var old: [UInt8] = []
        swap(&old, &block)
        noteCapacity()
        budget.giveBack(consume old)
    }
}
