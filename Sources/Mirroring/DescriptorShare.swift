internal import Synchronization

/// How many of the process's descriptors the sockets of one of several guests may take: what is there, by the number of
/// guests. A guest that opens connections without end runs out of its own. Any thread.
package final class DescriptorShare: Sendable {
    private let guests = Atomic(1)

    /// One guest, which may take all.
    package init() {}

    /// Shares anew.
    package func share(among guests: Int) {
        self.guests.store(max(1, guests), ordering: .relaxed)
    }

    /// A guest's part of so many; nil: there is one guest only, which may take all.
    func part(of all: Int64) -> Int64? {
        let guests = Int64(guests.load(ordering: .relaxed))
        return guests > 1 ? max(1, all / guests) : nil
    }
}
