internal import DequeModule

/// Listeners of the peer whose MIRROR frame is to be sent, in order and each at most once.
struct ReportQueue {
    private var entries = Deque<MirrorEntry>()

    /// How many wait, and entries that are gone in between.
    var count: Int { entries.count }

    /// Adds an entry.
    ///
    /// - Returns: Whether it was not there yet.
    mutating func add(_ entry: MirrorEntry) -> Bool {
        guard entry.listenerID != nil, !entry.isReportQueued else { return false }
        entry.isReportQueued = true
        entries.append(entry)
        return true
    }

    /// Whether an entry waits that still has a number; those before it leave.
    mutating func hasNext() -> Bool {
        while let entry = entries.first {
            if entry.listenerID != nil { return true }
            entry.isReportQueued = false
            entries.removeFirst()
        }
        return false
    }

    /// The next entry that still has a number.
    mutating func next() -> MirrorEntry? {
        while let entry = entries.popFirst() {
            entry.isReportQueued = false
            if entry.listenerID != nil { return entry }
        }
        return nil
    }

    /// Entries that are gone leave the queue once they may be half of it: a peer that does not read must not make
    /// it grow.
    mutating func forgetGone(known: Int) {
        if entries.count > 2 * known + 64 { entries.removeAll { $0.listenerID == nil } }
    }

    mutating func removeAll() {
        for entry in entries { entry.isReportQueued = false }
        entries.removeAll()
    }
}
