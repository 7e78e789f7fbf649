internal import Posix
internal import TwinportModel
internal import Wire

/// One bound socket of a mirror. Loop thread only.
protocol MirrorSocket: AnyObject {
    var planned: PlannedSocket { get }
    /// Stops or resumes taking connections while descriptors are short. UDP needs none and ignores it.
    func pause(_ isPaused: Bool)
    /// Closes at once. Established TCP flows live on.
    func close()
}

/// The listener of the peer's that a mirror's client means.
struct MirrorTarget {
    /// Its number in the live session.
    let number: ListenerID
    let key: ListenerKey
    let traffic: Traffic
    let loop: LoopWatch
    /// Whether connections begin with a header that names the client; see ``ProxyHeader``.
    let sendsProxyHeader: Bool
}

/// Finds the listener that a client of a mirror means when it dialled this address; nil without a session.
typealias FindTarget = (IPAddress) -> MirrorTarget?

/// Binds the sockets of mirrors: real ones, or a test's.
protocol MirrorSocketFactory: AnyObject {
    /// Binds one socket.
    ///
    /// - Throws: ``SystemError`` of the call that failed.
    func open(
        _ planned: PlannedSocket, _ transport: TransportProtocol, target: @escaping FindTarget
    ) throws(SystemError) -> any MirrorSocket

    /// The addresses that a wildcard stands for on this machine.
    func localAddresses() -> [IPAddress]

    /// The mirrors of other guests in a socket's way, the earliest first.
    func neighbours(inTheWayOf planned: PlannedSocket, _ kind: SocketKind) -> [Neighbour]

    /// Asks another guest's wildcard mirror to leave an address out.
    func askForRoom(_ endpoint: Endpoint, _ kind: SocketKind, of neighbour: Neighbour)
}
