import TestSupport
import Testing
import TwinportModel
import Wire

@testable import Tunnel

// Random sequences against slow, obvious models.

@Suite struct ModelTests {
    // MARK: ReceiveWindow

    @Test func `windows never promise more than the budget, whatever peers and applications do`() {
        var generator = SeededGenerator()
        for _ in 0..<60 {
            var budget = ReceiveBudget()
            var now: UInt64 = 0
            let initial = Int(ReceiveBudget.initialWindow)
            var windows = (0..<8).map { _ in
                ReceiveWindow(initial: ReceiveBudget.initialWindow, now: 0)
            }
            var model = windows.map { _ in (received: 0, consumed: 0, granted: initial) }
            for _ in 0..<400 {
                let index = Int.random(in: 0..<8, using: &generator)
                now += [0, 0, 0, 10, 1_500].randomElement(using: &generator)!
                if Bool.random(using: &generator) {
                    let room = model[index].granted - model[index].received
                    let count = Bool.random(using: &generator) ? room : room / 2
                    guard count > 0 else { continue }
                    let verdict = windows[index].receive(count, &budget)
                    let beyond = windows[index].receive(room - count + 1, &budget)
                    #expect(verdict == .fine && beyond == .beyondCredit)
                    model[index].received += count
                } else {
                    let held = model[index].received - model[index].consumed
                    let count = Bool.random(using: &generator) ? held : held / 3
                    let limit = windows[index].consume(count, &budget, now: now)
                    model[index].consumed += count
                    if let limit {
                        #expect(Int(limit) > model[index].granted, "a grant goes forward")
                        model[index].granted = Int(limit)
                    }
                }
                // What the peers may still make us hold, and what we hold.
                let promised = model.map { max(0, $0.granted - $0.consumed - initial) }
                #expect(
                    promised.reduce(0, +) <= Int(ReceiveBudget.growth),
                    "seed \(generator.seed)")
                #expect(
                    model.allSatisfy {
                        $0.granted - $0.consumed <= Int(ReceiveBudget.growth) / 2 + initial
                    })
                #expect(
                    Int(budget.held) == model.reduce(0) { $0 + $1.received - $1.consumed },
                    "seed \(generator.seed)")
            }
            for index in windows.indices { windows[index].release(&budget) }
            #expect(budget == ReceiveBudget(), "everything is given back, seed \(generator.seed)")
        }
    }

    @Test func `a peer that hoards credit on one stream after the other gets the budget once`() {
        var budget = ReceiveBudget()
        var now: UInt64 = 0
        var hoarded: UInt64 = 0
        for _ in 0..<200 {
            var window = ReceiveWindow(initial: ReceiveBudget.initialWindow, now: now)
            var received: UInt64 = 0
            // Use up all credit until the window has grown as far as it goes.
            for _ in 0..<40 {
                let room = window.granted - received
                guard window.receive(Int(room), &budget) == .fine else { break }
                received += room
                _ = window.consume(Int(room), &budget, now: now)
            }
            // Be idle, then send one byte: the window shrinks, the credit stays.
            now += 2_000
            if window.receive(1, &budget) == .fine {
                received += 1
                _ = window.consume(1, &budget, now: now)
            }
            let left = window.granted - received
            hoarded += left - min(left, UInt64(ReceiveBudget.initialWindow))
        }
        #expect(hoarded <= ReceiveBudget.growth)
    }

    @Test func `the window we offer shrinks with the number of our streams, and comes back`() {
        var budget = ReceiveBudget()
        var offered: [UInt32] = []
        for _ in 0..<65_535 { offered.append(budget.offer()) }
        #expect(offered.prefix(24).allSatisfy { $0 == 262_144 } && offered.last == 32_768)
        #expect(offered.map { Int($0) }.sorted(by: >) == offered.map { Int($0) })
        #expect(
            offered.filter { $0 > 32_768 }.reduce(0) { $0 + UInt64($1) } <= ReceiveBudget.offers)
        for window in offered {
            var window = ReceiveWindow(initial: window, isOffered: true, now: 0)
            window.release(&budget)
        }
        #expect(budget == ReceiveBudget())
    }

    @Test func `a session has all of its budget again when its streams are gone`() throws {
        let pair = Pair()
        pair.start()
        for round in 0..<3 {
            let streams = (0..<40).compactMap { _ in pair.host.open(ScriptedFlow()) }
            #expect(streams.count == 40 && pair.host.session.memory.budget.offered > 1 << 20)
            pair.settle()
            for stream in streams { stream.reset(.reset) }
            pair.settle()
            #expect(pair.host.session.memory.budget == ReceiveBudget(), "round \(round)")
            #expect(pair.guest.session.memory.budget == ReceiveBudget(), "round \(round)")
        }
    }

    // MARK: TokenBucket

    @Test func `a bucket gives its burst and its rate, never more`() {
        var generator = SeededGenerator()
        for _ in 0..<100 {
            let burst = UInt64.random(in: 1...50, using: &generator)
            let rate = UInt64.random(in: 1...200, using: &generator)
            var now = UInt64.random(in: 0...1_000_000, using: &generator)
            let start = now
            var bucket = TokenBucket(burst: burst, perSecond: rate, now: now)
            var taken: UInt64 = 0
            for _ in 0..<500 {
                now += UInt64.random(in: 0...20, using: &generator)
                if bucket.take(now: now) { taken += 1 }
                #expect(
                    taken * 1_000 <= burst * 1_000 + (now - start) * rate,
                    "seed \(generator.seed)")
            }
            // It says when the next one comes.
            while bucket.take(now: now) {}
            let wait = bucket.wait(now: now)
            var early = bucket
            let isEarly = wait >= 2 && early.take(now: now + wait - 2)
            let isThere = bucket.take(now: now + wait)
            #expect(wait > 0 && !isEarly && isThere)
        }
    }

    @Test func `a bucket survives clocks that stand still, jump and run backwards`() {
        var bucket = TokenBucket(burst: 40_000, perSecond: 20_000, now: .max - 5)
        let taken = [bucket.take(now: .max), bucket.take(now: 0)]
        var other = TokenBucket(burst: 1, perSecond: .max >> 32, now: 0)
        #expect(taken + [other.take(now: 1), other.take(now: .max)] == [true, true, true, true])
    }

    // MARK: StreamTable

    @Test func `a table holds what a dictionary would, and gives each number once`() throws {
        var generator = SeededGenerator()
        let victim = Victim()
        func stream(_ id: StreamID) -> TunnelStream {
            let here = Endpoint(.loopbackV4, 1)
            return TunnelStream(
                id: id, owner: victim.host.session, isLocal: true,
                open: OpenMessage(
                    listener: ListenerID(rawValue: 1), transport: .tcp, window: 0, client: here,
                    dialled: here),
                sendLimit: 0, window: ReceiveWindow(initial: 1, now: 0))
        }
        for isOurs in [true, false] {
            var table = StreamTable(isGuestOpened: false, isOurs: isOurs, limit: 50)
            var model: [Int: TunnelStream] = [:]
            var last: [Int: UInt16] = [:]
            for _ in 0..<5_000 {
                if Bool.random(using: &generator) {
                    let id =
                        isOurs
                        ? table.nextID()
                        : StreamID(
                            slot: .random(in: 1...80, using: &generator),
                            generation: .random(in: 0...1, using: &generator),
                            isGuestOpened: false)
                    guard let id else {
                        #expect(model.count == 50)
                        continue
                    }
                    let isFree =
                        model[id.slot] == nil && last[id.slot] != id.generation
                        && model.count < 50
                    let added = stream(id)
                    let isTaken = table.insert(added)
                    #expect(isTaken == isFree, "seed \(generator.seed)")
                    if isOurs { #expect(isFree, "a number of ours is always free") }
                    if isFree {
                        model[id.slot] = added
                        last[id.slot] = id.generation
                    }
                } else if let (slot, known) = model.randomElement(using: &generator) {
                    table.remove(known)
                    // Twice does no harm.
                    table.remove(known)
                    model[slot] = nil
                    #expect(table.lookup(known.id) == nil)
                }
                #expect(table.count == model.count)
                #expect(table.free.count <= 80)
                for known in model.values { #expect(table.lookup(known.id) === known) }
            }
            #expect(Set(table.all.map(\.id)) == Set(model.values.map(\.id)))
        }
    }

    // MARK: Liveness

    @Test func `liveness: five seconds, fifteen seconds, and gaps of four in between`() {
        for (silence, verdict) in [
            (UInt64(4_999), Liveness.Verdict.nothing), (5_000, .ping), (14_999, .ping),
            (15_000, .dead("nothing heard for 15 s")),
        ] {
            var liveness = Liveness(now: 0)
            var now: UInt64 = 0
            while now + 1_000 < silence {
                now += 1_000
                _ = liveness.tick(now: now, hasReceivedHello: true, isWaitingToWrite: false)
            }
            let got = liveness.tick(now: silence, hasReceivedHello: true, isWaitingToWrite: false)
            #expect(got == verdict)
        }
        var slept = Liveness(now: 0)
        _ = slept.tick(now: 4_001, hasReceivedHello: true, isWaitingToWrite: true)
        #expect(slept.lastHeard == 4_001)
        var awake = Liveness(now: 0)
        _ = awake.tick(now: 4_000, hasReceivedHello: true, isWaitingToWrite: true)
        #expect(awake.lastHeard == 0)
    }
}
