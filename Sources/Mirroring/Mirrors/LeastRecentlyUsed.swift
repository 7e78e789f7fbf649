/// The flows of one UDP mirror in order of use: a doubly linked list through the flows themselves, so that each
/// datagram costs a few stores. It does not own them; a flow is taken out before it is let go.
struct LeastRecentlyUsed {
    private unowned var newest: UDPClientFlow?
    /// The first to give way to others.
    private(set) unowned var oldest: UDPClientFlow?

    init() {}

    func isNewest(_ flow: UDPClientFlow) -> Bool { flow === newest }

    mutating func add(_ flow: UDPClientFlow) {
        flow.newer = nil
        flow.older = newest
        newest?.newer = flow
        newest = flow
        if oldest == nil { oldest = flow }
    }

    mutating func remove(_ flow: UDPClientFlow) {
        let newer = flow.newer
        let older = flow.older
        newer?.older = older
        older?.newer = newer
        if newest === flow { newest = older }
        if oldest === flow { oldest = newer }
        flow.newer = nil
        flow.older = nil
    }

    /// The flow was used.
    mutating func touch(_ flow: UDPClientFlow) {
        guard !isNewest(flow) else { return }
        remove(flow)
        add(flow)
    }
}
