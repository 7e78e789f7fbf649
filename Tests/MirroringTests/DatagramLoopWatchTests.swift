import TestSupport
import Testing
import TwinportModel

@testable import Mirroring

/// Clients of one UDP listener in simulated time, and a watch that may hold them.
private final class World {
    struct Client {
        let payload: [UInt8]
        let flow: FlowInfo
    }

    var now: UInt64 = 1_000_000
    private(set) var isRefused = false
    private(set) var arrivals = 0
    /// How long the client waited that was held for longest.
    private(set) var longestWait: UInt64 = 0
    private(set) var passedOn = 0
    private(set) var suspicions = 0
    /// Called when a flow is passed on.
    var passed: (Client) -> Void = { _ in }
    private var watch: DatagramLoopWatch!
    private var repeats = DatagramRepeats()
    private let traffic = Traffic()
    private var held: [Client] = []
    private var timer: UInt64?
    /// The next one is the last.
    private var events: [(at: UInt64, what: () -> Void)] = []

    init(_ generator: SeededGenerator, suspicion: Int = DatagramLoopWatch.suspicion.guest) {
        var generator = generator
        watch = DatagramLoopWatch(
            suspicion: suspicion, random: { UInt64.random(in: $0, using: &generator) },
            proved: { [unowned self] in isRefused = true })
    }

    func at(_ time: UInt64, _ what: @escaping () -> Void) {
        var range = 0..<events.count
        while !range.isEmpty {
            let middle = (range.lowerBound + range.upperBound) / 2
            range =
                events[middle].at > time ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        events.insert((time, what), at: range.lowerBound)
    }

    /// Runs to the end: nothing happens in this world afterwards.
    func run(until end: UInt64) {
        while true {
            let due = events.last?.at ?? .max
            if let timer, timer <= min(due, end) {
                now = max(now, timer)
                self.timer = nil
                timeOver()
            } else if due <= end, let event = events.popLast() {
                now = max(now, event.at)
                event.what()
            } else {
                break
            }
        }
        now = end
        // They hold this world, which would hold them for ever.
        events = []
        passed = { _ in }
    }

    /// A datagram comes from a port that it never came from.
    func client(_ payload: [UInt8]) {
        guard !isRefused else { return }
        arrivals += 1
        let endpoint = Endpoint(.loopbackV4, 1)
        let flow = FlowInfo(
            id: 1, transport: .udp, direction: .guestToHost, listener: endpoint, mirror: endpoint,
            client: endpoint, now: now, traffic: traffic)
        let client = Client(payload: payload, flow: flow)
        let chain = repeats.add(DatagramPrint(payload.span), flow, after: watch.refutedAt)
        switch watch.arrived(chain, now: now) {
        case .pass: pass(client)
        case .passAll:
            passHeld()
            pass(client)
        case .hold(let time):
            if held.isEmpty, timer == nil { suspicions += 1 }
            held.append(client)
            timer = now + time
        case .loop: break
        }
    }

    private func timeOver() {
        switch watch.timeOver(now: now) {
        case .passOne(let time):
            timer = now + time
            pass(held.removeFirst())
        case .passAll: passHeld()
        }
    }

    private func passHeld() {
        timer = nil
        let all = held
        held = []
        for client in all { pass(client) }
    }

    private func pass(_ client: Client) {
        longestWait = max(longestWait, now - client.flow.started)
        passedOn += 1
        passed(client)
    }

    /// The listener answers.
    func answer(_ client: Client) { client.flow.count(1, towardsListener: false, now: now) }

    /// Passes on what comes as another forwarder does whose other end leads back here.
    func beginLoop(pace: UInt64, of payload: [UInt8], _ generator: SeededGenerator) {
        var generator = generator
        let others = passed
        passed = { [unowned self] client in
            guard client.payload == payload else { return others(client) }
            let jitter = UInt64.random(in: 0...max(1, pace / 2), using: &generator)
            at(now + pace + jitter) { self.client(payload) }
        }
    }
}

@Suite struct DatagramLoopWatchTests {
    private static let payload = [UInt8]("one datagram".utf8)

    @Test(arguments: [0, 1, 3, 8, 40, 110, 300] as [UInt64], [1, 2, 5, 12])
    func `a loop is proved within tens of flows, whatever its pace and its copies`(
        pace: UInt64, copies: Int
    ) {
        var generator = SeededGenerator()
        for _ in 0..<5 {
            _ = generator.next()
            for suspicion in [DatagramLoopWatch.suspicion.guest, DatagramLoopWatch.suspicion.host] {
                let world = World(generator, suspicion: suspicion)
                world.beginLoop(pace: pace, of: Self.payload, generator)
                for _ in 0..<copies {
                    world.at(world.now + UInt64.random(in: 0...500, using: &generator)) {
                        world.client(Self.payload)
                    }
                }
                world.run(until: world.now + 120_000)
                #expect(world.isRefused, "seed \(generator.seed)")
                // Copies that join while it is looked at cost another attempt or two.
                let bound = copies == 1 ? suspicion + DatagramLoopWatch.rounds : 1_500
                #expect(world.arrivals <= bound, "seed \(generator.seed)")
            }
        }
    }

    /// Programs that report the same thing to a server that never answers, each time from another port: bursts, steady and
    /// random streams, streams that slow down, at many rates.
    @Test func `equal datagrams to a server that never answers are never a loop`() {
        var generator = SeededGenerator()
        for round in 0..<600 {
            _ = generator.next()
            let world = World(generator)
            var time = world.now
            let mean = UInt64.random(in: 0...[3, 30, 300, 1_200][round % 4], using: &generator)
            for index in 0..<250 {
                switch round / 4 % 6 {
                case 0: time += mean
                case 1: time += UInt64.random(in: 0...(2 * mean), using: &generator)
                case 2: time += Int.random(in: 0..<30, using: &generator) == 0 ? 20 * mean : 0
                case 3: time += mean + UInt64(index) * mean / 20
                case 4: time += index / 12 % 2 == 0 ? mean : 6 * mean
                default:
                    let share = Double.random(in: 0.0001...1, using: &generator)
                    time += UInt64(Double(mean) * share * share * 3)
                }
                world.at(time) { world.client(Self.payload) }
            }
            world.run(until: time + 60_000)
            let what: Comment = "round \(round), mean \(mean), seed \(generator.seed)"
            #expect(!world.isRefused, what)
            #expect(world.passedOn == 250, what)
            // Nobody is lost. Most experiments end with the next client, a few after some rounds.
            #expect(world.longestWait <= 15_000, "\(world.longestWait), \(what)")
            #expect(world.suspicions <= 6, "\(world.suspicions), \(what)")
        }
    }

    /// Thousands of DNS questions a second, each from a new port, a tenth of them the same; answers come late or never.
    @Test(arguments: [0, 30, 2_000, .max] as [UInt64])
    func `a busy name server is never a loop`(answersAfter: UInt64) {
        var generator = SeededGenerator()
        let world = World(generator)
        world.passed = { client in
            if answersAfter == 0 {
                world.answer(client)
            } else if answersAfter < .max {
                world.at(world.now + answersAfter) { world.answer(client) }
            }
        }
        var popular = [UInt8]("00 what is the address of example.org?".utf8)
        for index in 0..<6_000 as Range<UInt64> {
            var question = generator.bytes(40)
            if index % 10 == 0 {
                // Equal but for the number of the question.
                popular.replaceSubrange(0..<2, with: generator.bytes(2))
                question = popular
            }
            world.at(world.now + index / 4) { world.client(question) }
        }
        world.run(until: world.now + 10_000)
        #expect(!world.isRefused && world.passedOn == 6_000, "seed \(generator.seed)")
        #expect(world.longestWait <= 200, "\(world.longestWait), seed \(generator.seed)")
        if answersAfter == 0 { #expect(world.longestWait == 0) }
    }

    /// One client's datagrams, each sent when the one before was answered, given up, or lost.
    @Test func `a client that asks again and again is no loop`() {
        for gap in [0, 2, 20, 250, 1_000, 5_000] as [UInt64] {
            for answers in [false, true] {
                let world = World(SeededGenerator())
                for index in 0..<200 as Range<UInt64> {
                    world.at(world.now + index * gap) { world.client(Self.payload) }
                }
                if answers { world.passed = { world.answer($0) } }
                world.run(until: world.now + 200 * gap + 60_000)
                #expect(!world.isRefused && world.passedOn == 200)
                if answers { #expect(world.longestWait == 0) }
            }
        }
    }

    @Test func `a loop is proved among other clients' datagrams, which are not held`() {
        let world = World(SeededGenerator())
        var generator = SeededGenerator()
        var longest: UInt64 = 0
        world.passed = { longest = max(longest, world.now - $0.flow.started) }
        world.beginLoop(pace: 8, of: Self.payload, generator)
        world.client(Self.payload)
        for index in 0..<20_000 as Range<UInt64> {
            let other = generator.bytes(30)
            world.at(world.now + index / 5) { world.client(other) }
        }
        world.run(until: world.now + 60_000)
        #expect(world.isRefused && longest == 0, "seed \(generator.seed)")
    }

    @Test func `what is remembered is bounded, and what came again stays`() {
        var repeats = DatagramRepeats()
        var generator = SeededGenerator()
        let endpoint = Endpoint(.loopbackV4, 1)
        let traffic = Traffic()
        func flow(_ now: UInt64) -> FlowInfo {
            FlowInfo(
                id: 1, transport: .udp, direction: .guestToHost, listener: endpoint,
                mirror: endpoint, client: endpoint, now: now, traffic: traffic)
        }
        let print = DatagramPrint(Self.payload.span)
        _ = repeats.add(print, flow(1), after: 0)
        #expect(repeats.add(print, flow(2), after: 0).flows == 2)
        for _ in 0..<50_000 {
            _ = repeats.add(DatagramPrint(generator.bytes(20).span), flow(3), after: 0)
        }
        #expect(repeats.add(print, flow(5), after: 0).flows == 3)
        // Another listener's, one that was answered, one that is over, one too late: a new chain.
        let answered = flow(6)
        #expect(repeats.add(print, answered, after: 0).flows == 4)
        answered.count(1, towardsListener: false, now: 7)
        let over = flow(8)
        #expect(repeats.add(print, over, after: 0).flows == 1)
        over.isOver = true
        #expect(repeats.add(print, flow(9), after: 0).flows == 1)
        #expect(repeats.add(print, flow(10 + DatagramRepeats.longestGap), after: 0).flows == 1)
        #expect(repeats.add(print, flow(11 + DatagramRepeats.longestGap), after: 0).flows == 2)
        #expect(
            repeats.add(
                print, flow(12 + DatagramRepeats.longestGap),
                after: 11 + DatagramRepeats.longestGap
            ).flows == 1)
    }

    @Test func `a print sees every byte but the number of a question`() {
        var generator = SeededGenerator()
        for size in [0, 1, 2, 11, 12, 13, 255, 256] {
            let bytes = generator.bytes(size)
            let print = DatagramPrint(bytes.span)
            #expect(DatagramPrint((bytes + [0]).span) != print)
            for index in 0..<size {
                var other = bytes
                other[index] ^= 1
                #expect((DatagramPrint(other.span) == print) == (size >= 12 && index < 2))
            }
        }
    }
}
