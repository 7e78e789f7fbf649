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
// with the port: it is told, and no mirror stands for it. Where a rule lets some clients past those behind it
// (`-s 10.0.0.0/8 -j RETURN`), these serve the others only: the exception goes into their ways.

// Work is counted: one for each chain and rule that is come to, and one for each step, for each way that takes it, for each
// element of a set that it is compared with; more where a way is long. At a limit everything ends at once.

/// Follows the rules of one machine. Pure. The work is bounded, whatever the rules say.
struct NATWalk {
    /// So much is done, which takes at most 50 ms; half of it for each hook.
    static let mostWork = 100_000
    private static let deepest = 16
    private static let mostWays = 4_096
    private static let mostHits = 8_192
    private static let mostSettled = 256

    private let ruleset: NATRuleset
    private(set) var hits: [NATHit] = []
    /// Whether there was more than could be followed.
    private(set) var isCut: Bool
    /// What is decided already, without a hit, in the base chain that is followed.
    private var settled: [Settled] = []
    /// What was done so far.
    private(set) var work = 0
    private var limit = 0

    /// What goes past all rules that are still to come: of the chain that is followed, or of its base chain.
    private struct Settled {
        let way: NATWay
        let isForBase: Bool
    }

    /// Follows all of them.
    init(_ ruleset: NATRuleset) {
        self.ruleset = ruleset
        isCut = ruleset.isCut
        for hook in [NATHook.output, .prerouting] {
            limit += Self.mostWork / 2
            let bases = ruleset.bases.filter { $0.hook == hook }
            for base in bases.sorted(by: { $0.priority < $1.priority }) {
                // What one base chain accepts, the next one sees.
                settled = []
                let start = NATWay(family: base.chain.family)
                _ = follow(base.chain, start, at: hook, depth: 0)
            }
        }
    }

    /// Forgets what was decided for a chain that ends alone: behind `before`.
    private mutating func leave(_ before: Int) {
        guard settled.count > before else { return }
        settled.replaceSubrange(before..., with: settled[before...].filter(\.isForBase))
    }

    /// Counts what is to be done.
    ///
    /// - Returns: Whether it may be done.
    private mutating func spend(_ amount: Int) -> Bool {
        work += amount
        if isOver { isCut = true }
        return !isOver
    }

    private var isOver: Bool { work >= limit }

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
        guard spend(1) else { return .ended }
        let before = settled.count
        defer { leave(before) }
        for rule in ruleset.rules[chain] ?? [] {
            guard spend(1) else { return .ended }
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
            guard spend(cost(of: step, states, place)) else { return .ended }
            switch step {
            case .verdict(let verdict): return decideAll(verdict, states, place)
            case .nat, .redirect, .target:
                for state in states where !isOver { hit(state, step, place) }
                return states.contains { $0.way == place.entry } ? .ended : .next
            case .decide(let slot, let map): return decideByMap(slot, map, states, place)
            default:
                states = after(step, states, place)
                if states.isEmpty { return .next }
            }
        }
        return .next
    }

    /// The states after one step; none of too many, before they are made.
    private mutating func after(
        _ step: NATStep, _ states: [RuleState], _ place: Place
    ) -> [RuleState] {
        guard case .lookup(let slot, let name, let isNegated, let to) = step else {
            return states.compactMap { $0.after(step, at: place.hook) }
        }
        let elements = elements(name, place)
        if isNegated { return states.map { $0.lackingAll(elements, slot, place.hook) } }
        var found: [RuleState] = []
        for state in states {
            if let joined = state.joining(elements ?? [], slot, place.hook) {
                found += joined
                continue
            }
            for element in elements ?? [] {
                guard let next = state.meeting(element, slot, to: to, place.hook) else { continue }
                guard found.count < Self.mostWays else {
                    isCut = true
                    return []
                }
                found.append(next)
            }
        }
        return found
    }

    /// How much work a step is.
    private func cost(of step: NATStep, _ states: [RuleState], _ place: Place) -> Int {
        let weight = states.reduce(0) { $0 + $1.way.weight }
        switch step {
        case .lookup(_, let set, _, _), .decide(_, let set):
            return weight * (1 + (elements(set, place)?.count ?? 0))
        default: return weight
        }
    }

    /// What is in a set; nil where that was not read.
    private func elements(_ set: String, _ place: Place) -> [NATRuleset.Element]? {
        ruleset.sets[
            NATRuleset.ID(family: place.chain.family, table: place.chain.table, name: set)]
    }

    // MARK: Verdicts

    private mutating func decideAll(
        _ verdict: NATVerdict, _ states: [RuleState], _ place: Place
    ) -> Outcome {
        var outcome = Outcome.next
        for state in states {
            if isOver { return .ended }
            let one = decide(verdict, state.way, place)
            // Only what every connection meets decides about all of them.
            if state.way == place.entry { outcome = one }
        }
        return outcome
    }

    private mutating func decideByMap(
        _ slot: Int, _ set: String, _ states: [RuleState], _ place: Place
    ) -> Outcome {
        for element in elements(set, place) ?? [] {
            guard case .verdict(let verdict)? = element.data else { continue }
            for state in states {
                if isOver { return .ended }
                guard let next = state.meeting(element, slot, to: nil, place.hook) else { continue }
                _ = decide(verdict, next.way, place)
            }
        }
        return .next
    }

    private mutating func decide(_ verdict: NATVerdict, _ way: NATWay, _ place: Place) -> Outcome {
        switch verdict {
        case .continues: return .next
        case .returns, .ends:
            if way != place.entry {
                guard settled.count < Self.mostSettled else {
                    isCut = true
                    return .next
                }
                settled.append(Settled(way: way, isForBase: verdict == .ends))
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
        guard let ports = way.ports, let target = state.target(of: step) else { return }
        let comparisons = settled.reduce(0) {
            $0 + 1 + $1.way.notDestinations.count * way.notDestinations.count / 4
        }
        guard spend(4 * way.weight + comparisons / 4) else { return }
        let others = settled.map(\.way).filter { $0.isPlain && $0.covers(way) }
        guard spend(others.count * ports.count / 2) else { return }
        way.ports = ports.filter { range in !others.contains { $0.holds(range) } }
        for way in split(way) { add(NATHit(hook: place.hook, way: way, target: target)) }
    }

    private mutating func add(_ hit: NATHit) {
        guard hit.way.ports?.isEmpty == false else { return }
        guard hits.count < Self.mostHits else {
            isCut = true
            return
        }
        hits.append(hit)
    }

    /// A way to a hit: that of the ports for which an earlier rule lets some clients past, and that of all others.
    private mutating func split(_ way: NATWay) -> [NATWay] {
        let exceptions = settled.map(\.way).filter { !$0.isPlain && $0.meets(way) }
        guard !exceptions.isEmpty, let ports = way.ports else { return [way] }
        guard spend(exceptions.reduce(0) { $0 + $1.weight }) else { return [] }
        let touched = PortSet.sorted(exceptions.flatMap { $0.ports ?? [0...Port.max] })
        var free = way
        free.ports = PortSet.common(ports, PortSet.complement(touched))
        var others = exceptions.reduce(way) { $0.lacking($1) }
        others.ports = PortSet.common(ports, touched)
        return [free, others]
    }
}

extension NATWay {
    /// How much work it is to compare or to copy.
    fileprivate var weight: Int {
        1 + (ports?.count ?? 0) / 32
            + (notDestinations.count + notSources.count + notInterfaces.count) / 8
    }

    /// Whether everything of `other` comes here, too, if its port does.
    fileprivate func covers(_ other: NATWay) -> Bool {
        let isOfFamily = isIPv6 == nil || isIPv6 == other.isIPv6
        let isOfProtocol = transport == nil || transport == other.transport
        let isThere = destination == nil || destination == other.destination
        return isOfFamily && isOfProtocol && isThere
            && notDestinations.allSatisfy(other.notDestinations.contains)
    }

    /// Whether something of `other` may come here.
    fileprivate func meets(_ other: NATWay) -> Bool {
        let isOfFamily = isIPv6 == nil || other.isIPv6 == nil || isIPv6 == other.isIPv6
        let isOfProtocol =
            transport == nil || other.transport == nil || transport == other.transport
        guard isOfFamily, isOfProtocol else { return false }
        guard let place = other.destination else { return true }
        let isElsewhere = destination.map { $0 != place && $0.isSingle && place.isSingle } ?? false
        return !isElsewhere && !notDestinations.contains(place)
    }

    /// Whether all of these ports come here.
    fileprivate func holds(_ range: ClosedRange<Port>) -> Bool {
        guard let ports else { return true }
        // The last range that does not begin behind it.
        var (low, high) = (0, ports.count)
        while low < high {
            let middle = (low + high) / 2
            if ports[middle].lowerBound <= range.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low > 0 && ports[low - 1].upperBound >= range.upperBound
    }
}
