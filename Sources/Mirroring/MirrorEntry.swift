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
    var sockets: [any MirrorSocket] = []
    let traffic = Traffic()
    /// Whether the peer has to be told.
    var isReportQueued = false

    init(key: ListenerKey, sequence: UInt64, uid: UInt32) {
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
        for socket in sockets where !kept(socket.planned) { socket.close() }
        sockets.removeAll { !kept($0.planned) }
    }
}

/// A protocol and port.
struct MirrorGroup: Hashable {
    let kind: SocketKind
    let port: Port
}
