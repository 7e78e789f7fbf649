/// Which troubles of the tunnel are news. Each is said once, and again at a slow pace while it goes on, however many attempts
/// fail of it. Pure.
struct TroubleLog {
    /// After how many milliseconds the same trouble is said again.
    static let every: UInt64 = 600_000
    /// How many are remembered: a peer chooses some of their words.
    private static let most = 16

    private var told: [(text: String, at: UInt64)] = []

    /// Whether a trouble is to be said now.
    mutating func isNews(_ text: String, now: UInt64) -> Bool {
        if let index = told.firstIndex(where: { $0.text == text }) {
            guard now &- told[index].at >= Self.every else { return false }
            told.remove(at: index)
        }
        if told.count == Self.most { told.removeFirst() }
        told.append((text, now))
        return true
    }

    /// A session lived: what comes now is another outage.
    mutating func forget() { told = [] }
}
