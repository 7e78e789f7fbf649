internal import Sockets
internal import TwinportModel

/// A bind that a process asked for and did not get.
struct FailedBind: Equatable {
    var kind: SocketKind
    var endpoint: Endpoint
    /// Which process, if the kernel tells.
    var process: Int32?
    /// Whether it is root's.
    var byRoot = false
}

/// What the kernel told of binds and listening sockets. Pure; times are milliseconds.
struct SocketHistory {
    /// For so long after an event, what it tells of may not be visible in the tables: a TCP socket's event precedes
    /// its entry, and its thread may lose the processor in between.
    static let takesEffect: UInt64 = 20
    /// A bind that was asked for and has not succeeded by then has failed.
    static let bindTakes: UInt64 = 5
    /// How many binds are followed at a time.
    private static let maxAttempts = 256
    private static let maxOfOneProcess = 32

    private var position: UInt64 = 0
    private var lastAt: Instant?
    private var attempts: [PortGroup: (wish: FailedBind, at: Instant)] = [:]

    init() {}

    /// Notes what the kernel told, up to a position of its account.
    mutating func note(_ events: [SocketEvent], upTo position: UInt64, at now: Instant) {
        if position != self.position { lastAt = now }
        self.position = position
        for event in events {
            switch event {
            case .wanted(let kind, let endpoint, let process, let byRoot):
                let others = attempts.values.count { $0.wish.process == process }
                guard attempts.count < Self.maxAttempts, others < Self.maxOfOneProcess else {
                    break
                }
                let wish = FailedBind(
                    kind: kind, endpoint: endpoint, process: process, byRoot: byRoot)
                attempts[PortGroup(kind: kind, port: endpoint.port)] = (wish, now)
            case .bound(let kind, let port, _, _, _):
                attempts[PortGroup(kind: kind, port: port)] = nil
            case .listen, .sent, .lost: break
            }
        }
    }

    /// Up to which position a scan that begins now sees everything; nil when events are too young for that.
    func settled(at now: Instant) -> UInt64? {
        guard let lastAt, now < lastAt + Self.takesEffect else { return position }
        return nil
    }

    /// Binds that failed since the last call.
    mutating func failedBinds(at now: Instant) -> [FailedBind] {
        guard !attempts.isEmpty else { return [] }
        let failed = attempts.filter { now >= $0.value.at + Self.bindTakes }
        for group in failed.keys { attempts[group] = nil }
        return failed.values.map(\.wish)
    }

    /// Whether a bind's outcome is not known yet.
    var isWaiting: Bool { !attempts.isEmpty }
}
