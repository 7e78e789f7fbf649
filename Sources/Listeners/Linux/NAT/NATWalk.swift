internal import TwinportModel

// # From rules to the ports that they publish
//
// The rules are followed as the kernel would follow them, for all connections to this machine at once. A `NATWay` holds
// what was asked of a connection so far; each condition narrows it, a lookup in a map splits it, one way for each element.
//
//     base chain ─▶ rule: conditions ─▶ jump ─▶ … ─▶ dnat, redirect: a hit, if a port was asked for
//                                     └▶ accept, return: what was asked for until here goes no further
//
// The first rule that decides about a port counts. What a rule asks that is not understood stays with the way, and later
// with the port: it is told, and no mirror stands for it.

/// Follows the rules of one machine. Pure. The work is bounded, whatever the rules say.
struct NATWalk {
    private static let deepest = 16
    private static let mostSteps = 1_000_000
    private static let mostWays = 4_096
    private static let mostHits = 8_192
    private static let mostSettled = 256

    private let ruleset: NATRuleset
    private(set) var hits: [NATHit] = []
    /// Whether there was more than could be followed.
    private(set) var isCut: Bool
    /// What is decided already, without a hit, at the hook that is followed.
    private var settled: [NATWay] = []
    private var steps = 0

    /// Follows all of them.
    init(_ ruleset: NATRuleset) {
        self.ruleset = ruleset
        isCut = ruleset.isCut
        for hook in [NATHook.output, .prerouting] {
            settled = []
            let bases = ruleset.bases.filter { $0.hook == hook }
            for base in bases.sorted(by: { $0.priority < $1.priority }) {
                let start = NATWay(family: base.chain.family)
                _ = follow(base.chain, start, at: hook, depth: 0)
            }
        }
    }

    /// What is left of a way after a chain.
    private enum Rest {
        /// The next rule is asked.
        case goesOn
        /// No rule of the chain that was called from is asked any more.
        case ended
    }

    private mutating func follow(
        _ chain: NATRuleset.ID, _ way: NATWay, at hook: NATHook, depth: Int
    ) -> Rest {
        guard depth <= Self.deepest else {
            isCut = true
            return .goesOn
        }
        for rule in ruleset.rules[chain] ?? [] {
            let place = Place(chain: chain, rule: rule, entry: way, hook: hook, depth: depth)
            switch run(rule, place) {
            case .next: continue
            case .returned: return .goesOn
            case .ended: return .ended
            }
        }
        return .goesOn
    }

    /// Where the walk is.
    private struct Place {
        let chain: NATRuleset.ID
        let rule: NATRuleset.Rule
        let entry: NATWay
        let hook: NATHook
        let depth: Int

        var comment: String {
            if !rule.comment.isEmpty { return rule.comment }
            for case .condition(.comment(let text)) in rule.steps { return text }
            return ""
        }
    }

    /// What a rule does to all that comes to it.
    private enum Outcome {
        case next
        case returned
        case ended
    }

    private mutating func run(_ rule: NATRuleset.Rule, _ place: Place) -> Outcome {
        var states = [RuleState(place.entry)]
        for step in rule.steps {
            steps += states.count * cost(of: step, place)
            guard steps < Self.mostSteps, states.count <= Self.mostWays else {
                isCut = true
                return .next
            }
            switch step {
            case .verdict(let verdict): return decideAll(verdict, states, place)
            case .nat, .redirect, .target:
                for state in states { hit(state, step, place) }
                return states.contains { $0.way == place.entry } ? .ended : .next
            case .decide(let slot, let map): return decideByMap(slot, map, states, place)
            default:
                states = states.flatMap { after(step, $0, place) }
                if states.isEmpty { return .next }
            }
        }
        return .next
    }

    /// The states after one step.
    private func after(_ step: NATStep, _ state: RuleState, _ place: Place) -> [RuleState] {
        if case .lookup(let slot, let name, let isNegated, let to) = step {
            let elements = elements(name, place)
            guard !isNegated else { return [state.lackingAll(elements, slot, place.hook)] }
            return state.found(in: elements, slot, to: to, place.hook).map(\.state)
        }
        return state.after(step, at: place.hook).map { [$0] } ?? []
    }

    /// How much work a step is, for each state.
    private func cost(of step: NATStep, _ place: Place) -> Int {
        switch step {
        case .lookup(_, let set, _, _), .decide(_, let set): 1 + elements(set, place).count
        default: 1
        }
    }

    private func elements(_ set: String, _ place: Place) -> [NATRuleset.Element] {
        ruleset.sets[
            NATRuleset.ID(family: place.chain.family, table: place.chain.table, name: set)] ?? []
    }

    // MARK: Verdicts

    private mutating func decideAll(
        _ verdict: NATVerdict, _ states: [RuleState], _ place: Place
    ) -> Outcome {
        var outcome = Outcome.next
        for state in states {
            let one = decide(verdict, state.way, place)
            // Only what every connection meets decides about all of them.
            if state.way == place.entry { outcome = one }
        }
        return outcome
    }

    private mutating func decideByMap(
        _ slot: Int, _ set: String, _ states: [RuleState], _ place: Place
    ) -> Outcome {
        let elements = elements(set, place)
        for state in states {
            for (state, element) in state.found(in: elements, slot, to: nil, place.hook) {
                steps += 1
                guard case .verdict(let verdict)? = element?.data else { continue }
                _ = decide(verdict, state.way, place)
            }
        }
        return .next
    }

    private mutating func decide(_ verdict: NATVerdict, _ way: NATWay, _ place: Place) -> Outcome {
        switch verdict {
        case .continues: return .next
        case .returns, .ends:
            if way != place.entry, way.isPlain, settled.count < Self.mostSettled {
                settled.append(way)
            }
            return verdict == .ends ? .ended : .returned
        case .jump(let chain), .goto(let chain):
            let id = NATRuleset.ID(
                family: place.chain.family, table: place.chain.table, name: chain)
            let named = naming(way, place)
            let rest = follow(id, named, at: place.hook, depth: place.depth + 1)
            if rest == .ended { return .ended }
            return verdict == .goto(chain) ? .returned : .next
        }
    }

    // MARK: Hits

    /// The way, with the rule that asked for its port first.
    private func naming(_ way: NATWay, _ place: Place) -> NATWay {
        guard way.rule == nil, way.ports != nil else { return way }
        var way = way
        way.rule = NATWay.RuleName(
            family: place.chain.family, table: place.chain.table, chain: place.chain.name,
            number: place.rule.number, comment: place.comment)
        return way
    }

    private mutating func hit(_ state: RuleState, _ step: NATStep, _ place: Place) {
        var way = naming(state.way, place)
        guard let ports = way.ports, let target = state.target(of: step), hits.count < Self.mostHits
        else { return }
        steps += settled.count * ports.count / 16
        let isLeft: (ClosedRange<Port>) -> Bool = { range in
            !settled.contains { $0.covers(range, of: way) }
        }
        way.ports = ports.filter(isLeft)
        guard way.ports?.isEmpty == false else { return }
        hits.append(NATHit(hook: place.hook, way: way, target: target))
    }
}

extension NATWay {
    /// Whether everything of `other` at these ports comes here, too.
    fileprivate func covers(_ range: ClosedRange<Port>, of other: NATWay) -> Bool {
        let isOfFamily = isIPv6 == nil || isIPv6 == other.isIPv6
        let isOfProtocol = transport == nil || transport == other.transport
        let isThere = destination == nil || destination == other.destination
        return isOfFamily && isOfProtocol && isThere
            && notDestinations.allSatisfy(other.notDestinations.contains)
            && (ports?.contains { $0.contains(range.lowerBound) && $0.contains(range.upperBound) }
                ?? true)
    }
}
