import TestSupport
import Testing
import TwinportModel

@testable import Listeners

/// Tables that are made to keep the agent busy: the walk ends early, and says that it did.
@Suite struct NATWorkTests {
    private static func id(_ name: String) -> NATRuleset.ID {
        NATRuleset.ID(family: NATRuleset.ipv4, table: "t", name: name)
    }

    private let load = NATStep.load(.payload(base: 1, offset: 12), size: 4, to: 8)

    private func ruleset(_ steps: [NATStep]) -> NATRuleset {
        var ruleset = NATRuleset()
        ruleset.bases = [.init(chain: Self.id("out"), hook: .output, priority: -100)]
        ruleset.rules[Self.id("out")] = [NATRuleset.Rule(number: "handle 1", steps: steps)]
        return ruleset
    }

    private func clients(_ count: Int, _ data: NATRuleset.Data?) -> [NATRuleset.Element] {
        (0..<count).map { number in
            let key: [UInt8] = [10] + [16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
            return NATRuleset.Element(from: key, to: key, data: data)
        }
    }

    /// Follows rules, which may take a second here: optimised, it is a fiftieth of that.
    private func walk(_ ruleset: NATRuleset) -> NATWalk {
        var walk: NATWalk?
        let time = ContinuousClock().measure { walk = NATWalk(ruleset) }
        #expect(time < .seconds(10), "\(time)")
        return walk!
    }

    @Test func `maps of maps are not multiplied`() {
        var ruleset = ruleset([
            load, .lookup(8, set: "one", isNegated: false, to: 9), load,
            .lookup(8, set: "two", isNegated: false, to: 9), .verdict(.continues),
        ])
        ruleset.sets[Self.id("one")] = clients(45, .value([0, 0, 0, 1]))
        ruleset.sets[Self.id("two")] = clients(20_000, .value([0, 0, 0, 1]))
        #expect(walk(ruleset).isCut)
        // Where the work would be little, too.
        ruleset.sets[Self.id("one")] = clients(1, .value([0, 0, 0, 1]))
        ruleset.sets[Self.id("two")] = clients(5_000, .value([0, 0, 0, 1]))
        let cut = walk(ruleset)
        #expect(cut.isCut && cut.work < 11_000)
    }

    @Test func `rules without a step are work`() {
        var ruleset = ruleset([load, .decide(8, map: "clients")])
        ruleset.sets[Self.id("clients")] = clients(9_000, .verdict(.jump("c")))
        ruleset.rules[Self.id("c")] = (0..<9_000).map {
            NATRuleset.Rule(number: "handle \($0)", steps: [])
        }
        let cut = walk(ruleset)
        #expect(cut.isCut && cut.work < NATWalk.mostWork + 10)
    }

    @Test func `ports that are compared with other ports are work`() {
        let many: [NATStep] = [
            .condition(.ports((0..<2_048).map { Port($0 * 20)...Port($0 * 20 + 1) }))
        ]
        var ruleset = ruleset([])
        let number = { (of: Int) in "handle \(of)" }
        var rules = (0..<300).map { at in
            let block = AddressBlock([10, 0, 0, UInt8(at % 256)], isIPv6: false)!
            return NATRuleset.Rule(
                number: number(at),
                steps: [.condition(.destination(block, isNegated: true))] + many
                    + [.verdict(.ends)])
        }
        rules += (0..<9_000).map {
            NATRuleset.Rule(
                number: number($0), steps: many + [.target(NATTarget(isRedirect: true))])
        }
        ruleset.rules[Self.id("out")] = rules
        #expect(walk(ruleset).isCut)
    }

    @Test func `what is settled is not copied for each chain that is followed`() {
        var ruleset = ruleset([])
        var rules = (0..<256).map { at in
            let block = AddressBlock([10, 0, 0, UInt8(at)], isIPv6: false)!
            return NATRuleset.Rule(
                number: "handle \(at)",
                steps: [.condition(.source(block, isNegated: false)), .verdict(.ends)])
        }
        rules += (0..<10_000).map {
            NATRuleset.Rule(number: "handle \($0)", steps: [.verdict(.jump("empty"))])
        }
        ruleset.rules[Self.id("out")] = rules
        ruleset.rules[Self.id("empty")] = []
        let took = processorTime { _ = walk(ruleset) }
        #expect(took < .seconds(1), "\(took)")
    }

    @Test func `what holds is still found before the end`() {
        var ruleset = ruleset([.condition(.ports([80...80])), .target(NATTarget(isRedirect: true))])
        ruleset.sets[Self.id("clients")] = clients(20_000, .verdict(.jump("out")))
        ruleset.rules[Self.id("out")]?.append(
            NATRuleset.Rule(number: "handle 2", steps: [load, .decide(8, map: "clients")]))
        let cut = walk(ruleset)
        #expect(cut.isCut && cut.hits.first?.way.ports == [80...80])
    }

    @Test func `of a set that was not read it is not said what is not in it`() {
        let ruleset = ruleset([
            .load(.payload(base: 2, offset: 2), size: 2, to: 8),
            .lookup(8, set: "unread", isNegated: true, to: nil),
            .condition(.ports([80...80])), .target(NATTarget(isRedirect: true)),
        ])
        #expect(NATWalk(ruleset).hits.first?.way.unreadable == "a set")
    }
}
