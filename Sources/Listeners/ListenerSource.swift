internal import EventLoop
internal import Sockets
internal import TwinportModel

/// Where one system tells what listens, who is behind it, and when to look. The watcher knows nothing else of the
/// system. Owned by the watcher's thread, and made on it: what a source opens belongs to that thread's network
/// namespace.
///
/// `Linux/LinuxListeners.swift` is the only one there is, and only Linux is verified.
protocol ListenerSource: AnyObject {
    /// Whether the last ``rows(at:reusingTCP:)`` saw anything other than the one before.
    var hasChanged: Bool { get }

    /// ``WatchOptions/looksElsewhere``.
    var looksElsewhere: Bool { get set }

    /// Whether the system says so whenever TCP listeners may have changed, and when a UDP socket gets its port. TCP
    /// rows may then be reused for a while.
    var tellsOfListen: Bool { get }

    /// All rows that may be listeners.
    ///
    /// - Parameter reusingTCP: Whether the TCP rows of the last call may be returned again.
    /// - Throws: ``ScanFailure`` when a table could not be read whole. Nothing can then be said of any listener.
    func rows(at now: Instant, reusingTCP: Bool) throws(ScanFailure) -> [SocketRow]

    /// The listeners that only rules of the packet filter publish, if they may be others than at the last call.
    func published(at now: Instant) -> [Listener]?

    /// Whether such rules can be read, and how; `none: ` and why where not.
    var publishedState: String { get }

    /// What a socket is beside its row, as far as it can be known. A tunnel of the kernel must be known as such before
    /// anything stands for it.
    ///
    /// - Parameters:
    ///   - row: One of those that ``rows(at:reusingTCP:)`` returned last, and that counts as a listener.
    ///   - isServer: Whether it is known that it is not a client: one bind more at its port then misleads nobody.
    /// - Returns: Nil when it cannot be told yet: it is left out until the next scan.
    func inspect(_ row: SocketRow, isServer: Bool, at now: Instant) -> Inspection?

    /// Whether a bind that failed could succeed if the address were free: another user may ask for what nobody can get.
    func canSucceed(_ bind: FailedBind) -> Bool

    /// The ports that the system hands out to sockets that ask for none; nil when it cannot be told.
    func ephemeralPorts() -> ClosedRange<Port>?

    /// The process behind each of these sockets, as far as it may be seen. Slow: it looks at every process.
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]

    /// A process, or what of it is known.
    func owner(ofProcess pid: Int32) -> SocketOwner

    /// Asks the system to tell when listeners may have changed. Calling this again changes nothing.
    ///
    /// - Parameters:
    ///   - wake: Called on the loop's thread. What changed may show in the tables a moment later.
    ///   - closed: Called on the loop's thread when UDP sockets, listeners or not, have left the tables; at most twenty
    ///     times a second.
    func startHints(on loop: Loop, wake: @escaping () -> Void, closed: @escaping () -> Void)

    /// Takes ``startHints(on:wake:closed:)`` back.
    func stopHints()

    /// What the system told of sockets since the last call, and the position of its ``ListenerSignal`` after that.
    func takeEvents() -> (events: [SocketEvent], position: UInt64)
}

/// A table that could not be read, or made no sense. It is never taken for an empty one.
struct ScanFailure: Error {
    /// Which table, and why.
    let what: String
}
