// # Loops over UDP
//
// A forwarder whose other end sends to the mirror of its own listener: one datagram begins a flow, comes back as
// another client's, and begins the next, without end.
//
// ## Suspicion
//
// The same datagram began flow after flow within a second each, and none of them was answered (``DatagramRepeats``).
// Programs that report to a server that never answers do the same from a new socket each time, so suspicion drops
// nothing.
//
// ## The experiment
//
// As with TCP (LoopWatch.swift), one flow at a time is held: its datagram waits. In a loop the datagram is the cause of
// its own return: while it is held it does not come, for a random time, and after it was passed on it comes once, within
// a moment. `rounds` rounds in a row are proof.
//
// Only flows that begin with the same datagram take part; all others pass. A client that asked twice has two copies in
// the loop, so the experiment begins with gathering: copies that come while the first is held are held, too, until none
// comes any more. Then one at a time is passed on and the others stay. Whatever the outcome, nothing is lost.
//
// The first hold is longer than any gap between the flows before, so clients that come at a steady pace end the
// experiment while it gathers. When a copy comes that should not, or none comes that should, all that is held is passed
// on, and the next suspicion needs twice as many flows.

/// Finds out whether the datagrams to one listener come back through another forwarder. Pure; times are
/// milliseconds. Loop thread only.
final class DatagramLoopWatch {
    /// How many rounds are proof.
    static let rounds = 10
    /// How many flows make a suspicion on the guest, and on the host: more than the guest needs for its proof, see
    /// LoopWatch.swift.
    static let suspicion = (guest: 10, host: 40)
    /// How many copies are held at a time.
    static let mostHeld = 16
    /// Copies that come later than this after the first do not join it.
    private static let gathersFor: UInt64 = 1_000
    /// The bounds of a window, within which a copy comes back.
    private static let windows = UInt64(50)...UInt64(500)
    private static let longestHold: UInt64 = 2_500

    /// What to do when the time is over.
    enum Step: Equatable {
        /// Pass on the flow that is held for longest, and call ``timeOver()`` in so many milliseconds.
        case passOne(UInt64)
        /// The experiment is over: pass on what is held.
        case passAll
    }

    private enum Phase {
        case quiet
        case gathering(since: UInt64)
        case holding(round: Int)
        case released(round: Int)
    }

    private struct Suspect {
        let print: DatagramPrint
        let average: UInt64
        let longest: UInt64
        /// How many copies there are.
        var copies: UInt64 = 1

        /// Within what time a copy comes back.
        var window: UInt64 {
            min(max(4 * copies * average, windows.lowerBound), windows.upperBound)
        }

        var holds: ClosedRange<UInt64> {
            let shortest = max(window, longest + longest / 4)
            return shortest...max(shortest, min(shortest + 4 * window, longestHold))
        }
    }

    private var phase = Phase.quiet
    private var suspect: Suspect?
    private var suspicion: LoopSuspicion
    private let random: (ClosedRange<UInt64>) -> UInt64
    /// When a suspicion was last wrong; flows that began until then count for no other.
    private(set) var refutedAt: UInt64 = 0
    /// Called once, with the proof.
    private let proved: () -> Void

    init(
        suspicion: Int, random: @escaping (ClosedRange<UInt64>) -> UInt64,
        proved: @escaping () -> Void
    ) {
        self.suspicion = LoopSuspicion(needed: suspicion)
        self.random = random
        self.proved = proved
    }

    /// A flow begins with a datagram that may have come before. If it is to be held, ``timeOver(now:)`` is called in that
    /// time, and not at the time that was said before.
    func arrived(_ chain: DatagramRepeats.Chain, now: UInt64) -> LoopArrival {
        guard let suspect else {
            guard chain.flows >= suspicion.needed else { return .pass }
            suspect = Suspect(print: chain.print, average: chain.average, longest: chain.longest)
            return hold(.gathering(since: now))
        }
        guard chain.print == suspect.print else { return .pass }
        switch phase {
        case .gathering(let since)
        where suspect.copies < Self.mostHeld && now &- since <= Self.gathersFor:
            self.suspect?.copies += 1
            return hold(.gathering(since: since))
        case .released(let round) where round + 1 < Self.rounds:
            return hold(.holding(round: round + 1))
        case .released:
            end()
            proved()
            return .loop
        case .quiet, .gathering, .holding:
            refuted(now)
            return .passAll
        }
    }

    /// The time that was said is over.
    func timeOver(now: UInt64) -> Step {
        switch phase {
        case .gathering: phase = .released(round: 0)
        case .holding(let round): phase = .released(round: round)
        case .quiet, .released:
            refuted(now)
            return .passAll
        }
        return .passOne(suspect?.window ?? 0)
    }

    /// The flow that was to be held cannot be: there is no experiment.
    func giveUp() { end() }

    private func hold(_ next: Phase) -> LoopArrival {
        phase = next
        return .hold(suspect.map { random($0.holds) } ?? 0)
    }

    private func refuted(_ now: UInt64) {
        end()
        refutedAt = now
        suspicion.wasWrong()
    }

    private func end() {
        phase = .quiet
        suspect = nil
    }
}
