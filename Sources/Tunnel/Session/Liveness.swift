/// Whether the peer still lives. Pure.
///
/// PING after 5 s without a byte, dead after 15 s; any byte counts as life. A gap in our own clock (the
/// machine slept, the process was stopped) starts the count anew: silence that we slept through proves
/// nothing.
///
/// The peer also counts as dead if the link accepts no bytes for 30 s while bytes wait, even if the peer still sends:
/// flows would otherwise wait forever.
struct Liveness: Equatable {
    static let pingAfter: UInt64 = 5_000
    static let deadAfter: UInt64 = 15_000
    static let takesWithin: UInt64 = 30_000
    static let helloWithin: UInt64 = 5_000
    private static let gap: UInt64 = 4_000

    private(set) var lastHeard: UInt64
    /// When the link last took bytes, or had none to take.
    private var lastTaken: UInt64
    private var lastTick: UInt64
    private let started: UInt64

    enum Verdict: Equatable {
        case nothing
        case ping
        case dead(String)
    }

    init(now: UInt64) {
        lastHeard = now
        lastTaken = now
        lastTick = now
        started = now
    }

    mutating func heard(now: UInt64) {
        lastHeard = now
    }

    mutating func took(now: UInt64) {
        lastTaken = now
    }

    mutating func tick(now: UInt64, hasReceivedHello: Bool, isWaitingToWrite: Bool) -> Verdict {
        if now &- lastTick > Self.gap {
            lastHeard = now
            lastTaken = now
        }
        if !isWaitingToWrite { lastTaken = now }
        lastTick = now
        let silence = now &- lastHeard
        if !hasReceivedHello {
            guard now &- started >= Self.helloWithin else { return .nothing }
            return .dead(SessionEnd.noGreeting)
        }
        if silence >= Self.deadAfter { return .dead("nothing heard for 15 s") }
        if now &- lastTaken >= Self.takesWithin {
            return .dead("the other end read nothing for 30 s")
        }
        return silence >= Self.pingAfter ? .ping : .nothing
    }
}
