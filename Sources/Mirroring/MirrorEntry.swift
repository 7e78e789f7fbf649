internal import Addresses
internal import Listeners
internal import Sockets
internal import Wire

/// One listener of the peer, and how its mirror fares. Loop thread only.
final class MirrorEntry {
    let key: ListenerKey
    /// The order in which listeners came; earlier ones win among equals.
    let sequence: UInt64
    /// The listener's number in the live session; nil while there is none.
    var remote: ListenerID?
    var uid: UInt32
    var owner: String
    var container: Container?
    private(set) var state = MirrorState.pending
    private(set) var reason = ""
    var sockets: [any MirrorSocket] = [] {
        didSet { census.change(from: oldValue.isEmpty ? 0 : 1, to: sockets.isEmpty ? 0 : 1) }
    }
    private let census: MirrorCensus
    let traffic = Traffic()
    /// Whether its group's settling decides about it.
    var isInGroup = false
    /// Whether the peer has to be told.
    var isReportQueued = false
    var displacement = Displacement()

    init(key: ListenerKey, sequence: UInt64, uid: UInt32, census: MirrorCensus) {
        self.census = census
        self.key = key
        self.sequence = sequence
        self.uid = uid
        owner = ""
    }

    /// The port that groups entries which may cover each other.
    var group: MirrorGroup { MirrorGroup(kind: key.kind, port: key.endpoint.port) }

    /// Sets the state.
    ///
    /// - Returns: Whether that changed anything.
    func set(_ state: MirrorState, _ reason: String) -> Bool {
        guard state != self.state || reason != self.reason else { return false }
        self.state = state
        self.reason = reason
        return true
    }

    var boundAddresses: [Endpoint] { sockets.map(\.planned.endpoint) }

    func closeSockets(keeping kept: (PlannedSocket) -> Bool = { _ in false }) {
        guard sockets.contains(where: { !kept($0.planned) }) else { return }
        for socket in sockets where !kept(socket.planned) { socket.close() }
        sockets.removeAll { !kept($0.planned) }
    }
}

/// When a broad mirror that could not be bound may next close narrower ones to try again. Each attempt costs
/// those their flows, and what is in the way may be something that no scan shows, as a client's socket.
struct Displacement {
    private static let (first, longest) = (UInt64(2_000), UInt64(256_000))
    private var gap = Self.first
    private var notBefore: UInt64 = 0

    /// Whether an attempt may be made at `now`, in milliseconds.
    func isDue(_ now: UInt64) -> Bool { now >= notBefore }

    /// An attempt at `now` failed; one that cost narrower mirrors nothing need not be the rarer for it.
    mutating func failed(_ now: UInt64, atCost: Bool) {
        notBefore = now &+ gap
        if atCost { gap = min(Self.longest, gap * 2) }
    }
}

/// How many entries have a socket. Counting them anew for each listener would cost a peer's 16,384 listeners
/// squared.
final class MirrorCensus {
    private(set) var mirrored = 0

    func change(from before: Int, to after: Int) {
        mirrored += after - before
    }
}

/// A protocol and port.
struct MirrorGroup: Hashable {
    let kind: SocketKind
    let port: Port
}
