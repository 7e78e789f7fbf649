/// How many ports are looked at in searches for free ones: a peer decides how many listeners search, and how often. A
/// search that finds nothing left goes on at a later retry. Times are milliseconds. Pure.
struct LookBudget {
    /// How many looks there are at once, and after how long there are as many again.
    static let most = 1_024
    static let gap: UInt64 = 100

    private var left = Self.most
    private var renewedAt: UInt64 = 0

    /// To be called in every turn that may search.
    mutating func renew(at now: UInt64) {
        guard now >= renewedAt &+ Self.gap else { return }
        renewedAt = now
        left = Self.most
    }

    /// Spends some looks, as much as a step costs.
    ///
    /// - Returns: Whether there was one left.
    mutating func take(_ count: Int) -> Bool {
        guard left > 0 else { return false }
        left -= count
        return true
    }
}
