internal import TwinportModel

// # Mirrors at other ports than their listeners'
//
// A group is all listeners on one protocol and port, and the mirrors of a group are usually on that port, too. A rule can
// put a mirror elsewhere. What happens at a port of this machine (a program comes or goes, or asks for it) then
// concerns several groups: the one of that port, and those whose mirrors are to stand there. And mirrors of different
// groups can be in each other's way; the one with the higher ``RuleVerdict/rank`` gives way. All of it is empty without such rules.

/// Which mirrors stand at ports that are not their listeners', and which are to. Loop thread only.
final class Remaps {
    /// How many ports taken by `onConflict: next` are remembered.
    static let mostKept = 4_096

    /// By the port where mirrors are to stand: the groups of their listeners.
    private var wanting: [PortGroup: Set<PortGroup>] = [:]
    /// The reverse.
    private var wanted: [PortGroup: Set<PortGroup>] = [:]
    /// By port, the mirrors that stand there.
    private var standing: [PortGroup: [MirrorEntry]] = [:]
    private var places: [ObjectIdentifier: PortGroup] = [:]
    private var kept: [ListenerKey: Kept] = [:]
    /// Those of them whose listeners are gone: they make room for others.
    private var gone: Set<ListenerKey> = []

    /// A port that was free when a mirror's own was not.
    private struct Kept {
        let instead: Port
        let port: Port
    }

    // MARK: Who is concerned

    /// The groups of which mirrors stand, or are to stand, at a port of this machine.
    func groups(at place: PortGroup) -> [PortGroup] {
        guard let others = wanting[place] else { return [place] }
        return [place] + others
    }

    /// Whether a port of this machine has as many mirrors of other ports' listeners as it may, and a further group's
    /// would be too many: each that stands there is compared with each that is to.
    func isFull(_ place: PortGroup, for group: PortGroup) -> Bool {
        if standing[place]?.count ?? 0 >= MirrorTable.maxInGroup { return true }
        guard let groups = wanting[place] else { return false }
        return groups.count >= MirrorTable.maxInGroup && !groups.contains(group)
    }

    /// Whether mirrors of another group's listeners are to stand at a port that is not theirs.
    func isWanted(_ place: PortGroup, byOthersThan group: PortGroup) -> Bool {
        guard let others = wanting[place] else { return false }
        return others.count > (others.contains(group) ? 1 : 0)
    }

    /// A group was settled: its mirrors are to stand at these ports.
    func settled(_ group: PortGroup, at ports: some Sequence<Port>) {
        var places: Set<PortGroup> = []
        for port in ports where port != group.port {
            places.insert(PortGroup(kind: group.kind, port: port))
        }
        let old = wanted[group] ?? []
        guard places != old else { return }
        for place in old.subtracting(places) {
            wanting[place]?.remove(group)
            if wanting[place]?.isEmpty == true { wanting[place] = nil }
        }
        for place in places { wanting[place, default: []].insert(group) }
        wanted[group] = places.isEmpty ? nil : places
    }

    // MARK: What stands where

    /// An entry's sockets are others.
    func moved(_ entry: MirrorEntry) {
        let now = entry.sockets.first.map {
            PortGroup(kind: entry.key.kind, port: $0.planned.endpoint.port)
        }
        let place = now == entry.group ? nil : now
        if places.isEmpty, place == nil { return }
        let id = ObjectIdentifier(entry)
        let old = places[id]
        guard place != old else { return }
        if let old {
            standing[old]?.removeAll { $0 === entry }
            if standing[old]?.isEmpty == true { standing[old] = nil }
        }
        if let place { standing[place, default: []].append(entry) }
        places[id] = place
    }

    /// The mirrors of other ports' listeners that stand at a port.
    func standing(at place: PortGroup) -> [MirrorEntry] { standing[place] ?? [] }

    // MARK: The next free port

    /// The port that was taken for a listener instead of another one.
    func kept(for key: ListenerKey, instead port: Port) -> Port? {
        guard let kept = kept[key], kept.instead == port else { return nil }
        return kept.port
    }

    /// The port that another one was taken for.
    func instead(for key: ListenerKey) -> Port? { kept[key]?.instead }

    /// Whether there is room for the port of one more listener.
    func mayKeep(_ key: ListenerKey) -> Bool {
        kept.count < Self.mostKept || kept[key] != nil || !gone.isEmpty
    }

    /// Remembers a port, as long as this program runs and there is room.
    func keep(_ port: Port, instead: Port, for key: ListenerKey) {
        if kept[key] == nil, kept.count >= Self.mostKept {
            guard let other = gone.popFirst() else { return }
            kept[other] = nil
        }
        kept[key] = Kept(instead: instead, port: port)
    }

    /// A listener is there, or is gone.
    func note(_ key: ListenerKey, isGone: Bool) {
        if isGone, kept[key] != nil { gone.insert(key) }
        if !isGone, !gone.isEmpty { gone.remove(key) }
    }

    /// No rule asks for a free port any more.
    func forgetKept(_ key: ListenerKey) {
        if !kept.isEmpty { kept[key] = nil }
        if !gone.isEmpty { gone.remove(key) }
    }
}
