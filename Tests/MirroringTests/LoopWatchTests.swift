import TestSupport
import Testing
import TwinportModel

@testable import Mirroring

/// Clients of one listener in simulated time, and a watch that may hold them.
private final class World {
    var now: UInt64 = 1_000_000
    let watch: LoopWatch
    private var held: (UInt64, FlowInfo)?
    private(set) var isRefused = false
    private(set) var arrivals = 0
    private(set) var longestHold: UInt64 = 0
    /// Called when a connection is passed on.
    var passed: (FlowInfo) -> Void = { _ in }
    private var events: [(at: UInt64, what: () -> Void)] = []

    init(_ generator: SeededGenerator, suspicion: Int = LoopWatch.suspicion.guest) {
        var generator = generator
        watch = LoopWatch(suspicion: suspicion) { UInt64.random(in: $0, using: &generator) }
    }

    func at(_ time: UInt64, _ what: @escaping () -> Void) { events.append((time, what)) }

    /// Runs to the end: nothing happens in this world afterwards.
    func run(until end: UInt64) {
        while let next = events.indices.min(by: { events[$0].at < events[$1].at }),
            events[next].at <= end
        {
            let event = events.remove(at: next)
            now = max(now, event.at)
            event.what()
        }
        now = end
        // They hold this world, which would hold them for ever.
        events = []
        passed = { _ in }
    }

    func client() {
        guard !watch.isLoop else { return }
        arrivals += 1
        let endpoint = Endpoint(.loopbackV4, 1)
        let flow = FlowInfo(
            id: 1, transport: .tcp, direction: .guestToHost, listener: endpoint, mirror: endpoint,
            client: endpoint, now: now, traffic: Traffic())
        switch watch.arrived(now: now) {
        case .pass: pass(flow)
        case .passAll:
            if let held { pass(held.1) }
            held = nil
            pass(flow)
        case .hold(let time):
            longestHold = max(longestHold, time)
            let until = now + time
            held = (until, flow)
            at(until) { [unowned self] in
                guard let held, held.0 == until else { return }
                self.held = nil
                pass(held.1)
                watch.released(now: now)
            }
        case .loop: isRefused = true
        }
    }

    private func pass(_ flow: FlowInfo) {
        watch.passed(flow, now: now)
        passed(flow)
    }
}

@Suite struct LoopWatchTests {
    @Test(arguments: [0, 3, 8, 40, 110] as [UInt64])
    func `a loop is proved within tens of connections, whatever its pace`(pace: UInt64) {
        var generator = SeededGenerator()
        for _ in 0..<10 {
            _ = generator.next()
            for suspicion in [LoopWatch.suspicion.guest, LoopWatch.suspicion.host] {
                let world = World(generator, suspicion: suspicion)
                world.passed = { _ in
                    let jitter = UInt64.random(in: 0...(pace / 2), using: &generator)
                    world.at(world.now + pace + jitter) { world.client() }
                }
                world.client()
                world.run(until: world.now + 60_000)
                #expect(world.isRefused, "seed \(generator.seed)")
                #expect(world.arrivals == suspicion + LoopWatch.rounds + 1)
            }
        }
    }

    /// A slow server that answers nobody: bursts, steady and random streams of clients, at many rates.
    @Test func `clients of a slow server are never a loop, and are not held for long`() {
        var generator = SeededGenerator()
        for round in 0..<400 {
            _ = generator.next()
            let world = World(generator)
            var time = world.now
            let mean = UInt64.random(in: 0...200, using: &generator)
            for _ in 0..<150 {
                switch round % 4 {
                case 0: time += mean
                case 1: time += UInt64.random(in: 0...(2 * mean), using: &generator)
                case 2: time += Int.random(in: 0..<30, using: &generator) == 0 ? 5 * mean : 0
                default:
                    let share = Double.random(in: 0.0001...1, using: &generator)
                    time += UInt64(Double(mean) * share * share * 3)
                }
                world.at(time) { world.client() }
            }
            world.run(until: time + 60_000)
            #expect(!world.isRefused, "round \(round), mean \(mean), seed \(generator.seed)")
            #expect(world.arrivals == 150)
            #expect(world.longestHold <= 2_500)
        }
    }

    @Test func `one client after the other is no loop when the listener answers, or the flow ends`()
    {
        for ends in [false, true] {
            let world = World(SeededGenerator())
            world.passed = { flow in
                guard world.arrivals < 1_000 else { return }
                world.at(world.now + 4) {
                    if ends {
                        flow.isOver = true
                    } else {
                        flow.count(1, towardsListener: false, now: world.now)
                    }
                    world.client()
                }
            }
            world.client()
            world.run(until: world.now + 60_000)
            #expect(world.arrivals == 1_000 && !world.isRefused && world.longestHold == 0)
        }
    }

    @Test func `a client that sees its connection answered cannot forge the proof`() {
        let world = World(SeededGenerator())
        world.passed = { flow in
            guard world.arrivals > 10, world.arrivals < 500 else { return }
            world.at(world.now + 1) { flow.count(1, towardsListener: false, now: world.now) }
            // At the right moment, in every round.
            world.at(world.now + 2) { world.client() }
        }
        for number in 0...10 as ClosedRange<UInt64> {
            world.at(world.now + 125 * number) { world.client() }
        }
        world.run(until: world.now + 120_000)
        #expect(!world.isRefused && world.arrivals > 12, "\(world.arrivals)")
    }

    @Test func `a loop is proved although other clients come now and then`() {
        let world = World(SeededGenerator())
        world.passed = { _ in world.at(world.now + 8) { world.client() } }
        world.client()
        for second in 1...60 as ClosedRange<UInt64> {
            world.at(world.now + second * 1_700) { world.client() }
        }
        world.run(until: world.now + 60_000)
        #expect(world.isRefused && world.arrivals < 300, "\(world.arrivals)")
    }
}
