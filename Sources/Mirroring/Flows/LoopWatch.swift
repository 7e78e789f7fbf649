// # Loops
//
// `ssh -L 8000:localhost:8000 guest` listens here, and its other end dials localhost:8000 there, which is the
// mirror of that very listener. One connection then makes the next, without end. Other programs' forwarders are not
// known and not asked: the loop shows in what it does.
//
// ## Suspicion
//
// The last connections to a listener's mirror are all open, none has got a byte from the listener, and they came
// within seconds. A slow server with many clients looks the same, so suspicion refuses nobody.
//
// ## The experiment
//
// One connection at a time is held: it is accepted and not passed on. In a loop it is the cause of the next one, so
// no other comes while it is held, for a random time; and after it is passed on, exactly one comes within a moment.
// Clients that do not depend on it come while it is held, or do not come right after it, or after it was answered: who
// sees the answer knows that the hold is over, and could come at the right moment on purpose. `rounds` rounds in a row
// are proof. Anything else ends the experiment at once; connections that waited are passed on, and the next suspicion needs twice
// as many connections.
//
// The moment (`window`) is four times as long as connections took to follow each other before. The time of a hold is
// one to five windows, so clients that come at random, or steadily, pass one round with a probability of a few per
// cent at most, and all rounds practically never.
//
// A loop through mirrors in both directions is seen by both machines, and each one's holds would spoil the other's
// experiment. So one needs more connections for a suspicion than the other needs for its proof.

/// Finds out whether the connections to one listener come back through another forwarder. Pure; times are
/// milliseconds. Loop thread only.
final class LoopWatch {
    /// How many rounds are proof.
    static let rounds = 6
    /// How many connections make a suspicion on the guest, and on the host.
    static let suspicion = (guest: 10, host: 24)
    /// Connections that came over a longer time are no loop.
    private static let patience: UInt64 = 10_000
    /// The bounds of a window.
    private static let windows = UInt64(25)...UInt64(500)

    private enum Phase {
        case quiet
        case holding(round: Int)
        case released(round: Int, until: UInt64)
    }

    private struct Past {
        let flow: FlowInfo
        let at: UInt64
    }

    private var phase = Phase.quiet
    private var past: [Past] = []
    private var suspicion: LoopSuspicion
    private var window: UInt64 = 0
    private let random: (ClosedRange<UInt64>) -> UInt64
    /// The same for a UDP listener.
    private(set) lazy var datagrams = DatagramLoopWatch(
        suspicion: datagramSuspicion, random: random
    ) { [unowned self] in prove() }
    private let datagramSuspicion: Int
    /// Whether the listener is in a loop, by proof.
    private(set) var isLoop = false
    /// Called once, with the proof.
    var proved: () -> Void = {}

    init(
        suspicion: Int, datagramSuspicion: Int = DatagramLoopWatch.suspicion.guest,
        random: @escaping (ClosedRange<UInt64>) -> UInt64 = { UInt64.random(in: $0) }
    ) {
        self.suspicion = LoopSuspicion(needed: suspicion)
        self.datagramSuspicion = datagramSuspicion
        self.random = random
    }

    /// A connection came. One that is to be held is passed on after that time, and ``released(now:)`` called.
    func arrived(now: UInt64) -> LoopArrival {
        switch phase {
        case .quiet:
            guard isSuspicious(now) else { return .pass }
            return hold(round: 0)
        case .holding:
            refuted()
            return .passAll
        case .released(let round, let until):
            guard now <= until, !isAnswered(past.last?.flow) else {
                refuted()
                return .pass
            }
            guard round + 1 >= Self.rounds else { return hold(round: round + 1) }
            phase = .quiet
            prove()
            return .loop
        }
    }

    /// The held connection's time is over: it is passed on now.
    func released(now: UInt64) {
        if case .holding(let round) = phase {
            phase = .released(round: round, until: now &+ window)
        }
    }

    /// A connection was passed on, as this flow.
    func passed(_ flow: FlowInfo, now: UInt64) {
        let needed = suspicion.needed
        if past.count >= needed { past.removeFirst(past.count - needed + 1) }
        past.append(Past(flow: flow, at: now))
    }

    /// Whether a flow of a proved loop waits for an answer that will not come.
    static func isFutile(_ flow: FlowInfo) -> Bool { flow.bytesOut == 0 }

    private func prove() {
        isLoop = true
        proved()
    }

    private func hold(round: Int) -> LoopArrival {
        phase = .holding(round: round)
        return .hold(random(window...(5 * window)))
    }

    private func isSuspicious(_ now: UInt64) -> Bool {
        guard past.count >= suspicion.needed, let first = past.first,
            now &- first.at <= Self.patience,
            past.allSatisfy({ !$0.flow.isOver && $0.flow.bytesOut == 0 })
        else { return false }
        let times = past.map(\.at) + [now]
        let gaps = zip(times.dropFirst(), times).map { $0 &- $1 }.sorted()
        window = min(
            max(4 * gaps[gaps.count / 2], Self.windows.lowerBound), Self.windows.upperBound)
        return true
    }

    private func isAnswered(_ flow: FlowInfo?) -> Bool {
        flow.map { $0.isOver || !Self.isFutile($0) } ?? false
    }

    private func refuted() {
        phase = .quiet
        past = []
        suspicion.wasWrong()
    }
}
