import Testing
import TwinportModel

@testable import Tunnel

/// The state of a stream against the table "Streams" of docs/protocol.md: every state, every frame.
@Suite struct StreamStateTests {
    private typealias State = StreamState
    private static let frames: [StreamState.Frame] = [
        .opened, .refused, .data, .datagram, .fin, .window(grants: true), .window(grants: false),
        .reset, .moved, .keepAlive, .urgent,
    ]

    /// What a side does: a frame of the peer's, or a last frame of ours.
    private enum Step: Equatable {
        case receive(StreamState.Frame)
        case sendFin
        case sendReset
    }

    private static let steps: [Step] = frames.map { .receive($0) } + [.sendFin, .sendReset]

    private func apply(_ step: Step, to state: StreamState) -> StreamState? {
        var state = state
        switch step {
        case .receive(let frame): guard (try? state.receive(frame)) != nil else { return nil }
        case .sendFin: state.sendFin()
        case .sendReset: _ = state.sendReset()
        }
        return state
    }

    /// All states that any sequence of steps leads to.
    private func reachable() -> [StreamState] {
        var states: [StreamState] = []
        for transport in TransportProtocol.allCases {
            for isLocal in [true, false] {
                states.append(StreamState(transport: transport, isLocal: isLocal))
            }
        }
        var next = 0
        while next < states.count {
            for step in Self.steps {
                guard let state = apply(step, to: states[next]), !states.contains(state) else {
                    continue
                }
                states.append(state)
            }
            next += 1
        }
        return states
    }

    /// What the table says of a frame: fatal, without effect, or taken.
    private enum Rule { case fatal, withoutEffect, taken }

    private func rule(_ frame: StreamState.Frame, in state: StreamState) -> Rule {
        let peerMaySend = state.theirs == .open
        switch frame {
        // "OPENED or REFUSED comes from the side that did not open: one of them, once"
        case .opened, .refused:
            return peerMaySend && state.isLocal && !state.isAnswered ? .taken : .fatal
        // "DATA on TCP streams, DATAGRAM on UDP streams", "before the sender's terminal"
        case .data, .urgent: return peerMaySend && state.transport == .tcp ? .taken : .fatal
        // "MOVED on UDP streams, KEEPALIVE on TCP streams, from the side that did not open"
        case .moved:
            return peerMaySend && state.isLocal && state.transport == .udp ? .taken : .fatal
        case .keepAlive:
            return peerMaySend && state.isLocal && state.transport == .tcp ? .taken : .fatal
        case .datagram: return peerMaySend && state.transport == .udp ? .taken : .fatal
        case .fin: return peerMaySend ? .taken : .fatal
        // "RESET again": without effect
        case .reset: return state.theirs == .reset ? .withoutEffect : .taken
        // "WINDOW once nothing more will be sent", or one that grants nothing: without effect
        case .window(let grants):
            return grants && state.ours == .open && state.theirs != .reset ? .taken : .withoutEffect
        }
    }

    @Test func `every frame in every state does what the table says`() {
        let states = reachable()
        // Two protocols; opened here, answered or not, or opened there; three halves each way.
        #expect(states.count == 2 * (2 * 9 + 9))
        for state in states {
            for frame in Self.frames {
                var after = state
                let expected = rule(frame, in: state)
                let hasEffect = try? after.receive(frame)
                switch expected {
                case .fatal: #expect(hasEffect == nil, "\(frame) in \(state)")
                case .withoutEffect: #expect(hasEffect == false, "\(frame) in \(state)")
                case .taken: #expect(hasEffect == true, "\(frame) in \(state)")
                }
                if expected != .taken { #expect(after == state, "\(frame) changed \(state)") }
                check(after, followed: state, frame, expected)
            }
        }
    }

    private func check(
        _ after: StreamState, followed before: StreamState, _ frame: StreamState.Frame, _ rule: Rule
    ) {
        #expect(after.ours == before.ours)
        guard rule == .taken else { return }
        switch frame {
        case .fin: #expect(after.theirs == .ended)
        case .reset, .refused: #expect(after.theirs == .reset)
        case .opened: #expect(after.isAnswered && after.theirs == before.theirs)
        case .data, .datagram, .window, .moved, .keepAlive, .urgent: #expect(after == before)
        }
    }

    @Test func `each side sends one terminal, and one reset to abandon what still arrives`() {
        for state in reachable() {
            var after = state
            after.sendFin()
            #expect(after.ours == (state.ours == .open ? .ended : state.ours))
            after = state
            #expect(after.sendReset() == (state.ours != .reset))
            #expect(after.ours == .reset && after.theirs == state.theirs)
            #expect(!after.maySend && state.maySend == (state.ours == .open))
            #expect(state.isOver == (state.ours != .open && state.theirs != .open))
        }
    }

    @Test func `a number is free once, and what is forgotten stays so`() {
        var state = StreamState(transport: .tcp, isLocal: true)
        state.drain()
        #expect(state.registration == .draining)
        state.forget()
        state.drain()
        #expect(state.registration == .forgotten)
    }
}

@Suite struct SchedulerTests {
    private func stream(_ pair: Pair, _ transport: TransportProtocol = .tcp) throws -> TunnelStream
    {
        try #require(pair.host.open(ScriptedFlow(), transport))
    }

    private func add(_ stream: TunnelStream, to scheduler: inout Scheduler, isTaken: Bool = true) {
        let taken = scheduler.addNew(stream)
        #expect(taken == isTaken)
    }

    private func expectNext(_ stream: TunnelStream?, from scheduler: inout Scheduler) {
        let next = scheduler.nextReady()
        #expect(next === stream)
    }

    @Test func `idle streams go first once, the others follow in turn`() throws {
        let pair = Pair()
        pair.start()
        let streams = try (0..<4).map { _ in try stream(pair) }
        var scheduler = Scheduler()
        for stream in streams[..<2] { add(stream, to: &scheduler) }
        expectNext(streams[0], from: &scheduler)
        scheduler.addAgain(streams[0])
        add(streams[2], to: &scheduler)
        add(streams[2], to: &scheduler, isTaken: false)
        scheduler.addAgain(streams[3])
        #expect(scheduler.dataCount == 4 && scheduler.hasData && scheduler.wantsLink)
        let order = [1, 2, 0, 3]
        for index in order { expectNext(streams[index], from: &scheduler) }
        expectNext(nil, from: &scheduler)
        #expect(!scheduler.hasData)
        #expect(streams.allSatisfy { $0.place == .idle })
    }

    @Test func `a stream without credit waits outside of the queues until it is granted some`()
        throws
    {
        let pair = Pair()
        pair.start()
        let (tcp, udp) = (try stream(pair), try stream(pair, .udp))
        tcp.credit = SendCredit(sent: 5, limit: 5)
        udp.credit = SendCredit(sent: 5, limit: 5)
        var scheduler = Scheduler()
        add(tcp, to: &scheduler, isTaken: false)
        #expect(tcp.awaitsCredit && !scheduler.hasData)
        // Datagrams need no credit.
        add(udp, to: &scheduler)
        scheduler.unblock(tcp, isWanted: false)
        #expect(tcp.place == .idle && scheduler.dataCount == 1)
        add(tcp, to: &scheduler, isTaken: false)
        scheduler.unblock(tcp, isWanted: true)
        scheduler.unblock(tcp, isWanted: true)
        #expect(tcp.place == .ready && scheduler.dataCount == 2)
    }

    @Test func `control that is in no hurry waits, and is queued once per stream`() throws {
        let pair = Pair()
        pair.start()
        let stream = try stream(pair)
        stream.control = StreamControl()
        var scheduler = Scheduler()
        scheduler.add(.opened, of: stream, isHurried: false)
        #expect(!scheduler.hasControl && !scheduler.wantsLink && scheduler.hasStreamControl)
        scheduler.hurryControl()
        #expect(scheduler.hasControl && scheduler.wantsLink)
        scheduler.add(.window, of: stream, isHurried: true)
        #expect(stream.control.frames == [.opened, .window])
        let (first, second) = (scheduler.nextControl(), scheduler.nextControl())
        #expect(first === stream && second == nil)
        #expect(!scheduler.hasControl && !stream.control.isQueued)
    }
}
