internal import Sockets
internal import TwinportModel

/// How UDP sockets came by their ports, as far as the kernel told: what tells servers from clients. Pure.
///
/// The kernel tells of ports, not of sockets. A bind waits until a socket on that port is seen for the first time, and is
/// that socket's from then on, whatever others do with the port.
struct UDPOrigins {
    /// How a socket came by its port.
    enum Origin {
        /// A program asked for this port: a server.
        case asked
        /// A program left the choice to the kernel and has not sent yet: a server that will tell its port, or a
        /// client that is about to ask.
        case chosen
        /// It has sent before it was known as a listener, or the kernel gave it a port as it sent: a client.
        case client
        /// It is older than the kernel's account.
        case unknown
    }

    /// Binds on one port whose sockets were not seen yet.
    private struct Unclaimed {
        var origin: Origin
        var count = 1
        var at: Instant
    }

    private struct Socket {
        var origin: Origin
        let port: Port
    }

    /// How long a bind waits for its socket, in milliseconds.
    private static let patience: UInt64 = 1_000
    /// So many binds on one port wait at most.
    private static let mostUnclaimed = 4_096

    private var unclaimed: [Port: Unclaimed] = [:]
    private var sockets: [UInt64: Socket] = [:]
    /// Sockets whose port the kernel chose and that have not sent, by that port.
    private var silent: [Port: Set<UInt64>] = [:]
    /// Sockets that were first seen after this had their binds told.
    private var completeSince: Instant?
    /// Whether the kernel tells of binds at all.
    var isTold = false {
        didSet { if !isTold { self = UDPOrigins() } }
    }

    /// How much is remembered, for tests.
    var remembered: Int { unclaimed.count + sockets.count + silent.count }

    init() {}

    /// Notes what the kernel told.
    ///
    /// - Returns: Whether that may make a socket another thing than it was.
    mutating func note(_ events: [SocketEvent], at now: Instant) -> Bool {
        var isNews = false
        for event in events {
            switch event {
            case .bound(.udp, let port, let kernelChose, _, _):
                note(port, kernelChose ? .chosen : .asked, now)
                isNews = true
            case .sent(let port):
                sent(port)
                isNews = true
            case .lost:
                unclaimed = [:]
                completeSince = nil
                isNews = true
            case .bound, .listen, .wanted: break
            }
        }
        return isNews
    }

    private mutating func note(_ port: Port, _ origin: Origin, _ now: Instant) {
        var count = 1
        if let waiting = unclaimed[port], waiting.origin == origin { count += waiting.count }
        unclaimed[port] = Unclaimed(
            origin: origin, count: min(count, Self.mostUnclaimed), at: now)
    }

    private mutating func sent(_ port: Port) {
        if unclaimed[port]?.origin == .chosen { unclaimed[port]?.origin = .client }
        for inode in silent.removeValue(forKey: port) ?? [] { sockets[inode]?.origin = .client }
    }

    /// How a socket came by its port.
    mutating func origin(ofInode inode: UInt64, at port: Port, firstSeen: Instant) -> Origin {
        if let known = sockets[inode] { return known.origin }
        if let waiting = unclaimed[port] {
            unclaimed[port]?.count -= 1
            if waiting.count <= 1 { unclaimed[port] = nil }
            sockets[inode] = Socket(origin: waiting.origin, port: port)
            if waiting.origin == .chosen { silent[port, default: []].insert(inode) }
            return waiting.origin
        }
        guard let completeSince, firstSeen > completeSince else { return .unknown }
        return .client
    }

    /// A scan is over: what is known of sockets that are gone goes, too.
    ///
    /// - Parameter present: The sockets that it saw.
    mutating func scanned(at now: Instant, present: Set<UInt64>) {
        if !unclaimed.isEmpty { unclaimed = unclaimed.filter { now < $0.value.at + Self.patience } }
        for (inode, socket) in sockets where !present.contains(inode) {
            sockets[inode] = nil
            silent[socket.port]?.remove(inode)
            if silent[socket.port]?.isEmpty == true { silent[socket.port] = nil }
        }
        if isTold, completeSince == nil { completeSince = now }
    }
}
