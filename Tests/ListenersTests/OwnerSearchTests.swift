import TestSupport
import Testing
import TwinportModel

@testable import Listeners

private func at(_ milliseconds: UInt64) -> Instant { Instant(milliseconds: milliseconds) }

private func listener(_ port: Port, _ inode: UInt64) -> Listener {
    let key = ListenerKey(kind: .tcp, endpoint: Endpoint(.anyV4, port), isV6Only: false)
    return Listener(key: key, uid: 0, inode: inode)
}

private let web = SocketOwner(pid: 7, command: "web")

/// A search in a box: `#expect` cannot call what mutates a value.
private final class Search {
    private var search = OwnerSearch()

    var isDone: Bool { search.isDone }
    func note(_ changes: [ListenerChange]) { search.note(changes) }
    func search(at now: Instant, _ walk: (Set<UInt64>) -> [UInt64: SocketOwner]) -> [OwnerSearch
        .Found]
    { search.search(at: now, walk) }
    func verify(
        at now: Instant, _ known: [Listener], isThere: (SocketOwner) -> Bool
    ) {
        let known = Dictionary(uniqueKeysWithValues: known.map { ($0.key, $0) })
        search.verify(at: now, known, isThere: isThere)
    }
}

private func listener(_ port: Port, _ inode: UInt64, _ owner: SocketOwner?) -> Listener {
    var listener = listener(port, inode)
    listener.owner = owner
    return listener
}

@Suite struct OwnerSearchTests {
    @Test func `of a burst the newest are looked for first, and so many in one walk`() {
        let search = Search()
        let most = UInt64(OwnerSearch.mostAtOnce)
        search.note((1...most + 1).map { .appeared(listener(Port($0), $0)) })
        var walks: [Set<UInt64>] = []
        for now in stride(from: UInt64(0), through: OwnerSearch.every, by: 100) {
            _ = search.search(at: at(now)) { inodes in
                walks.append(inodes)
                return Dictionary(uniqueKeysWithValues: inodes.map { ($0, web) })
            }
        }
        #expect(walks == [Set(2...most + 1), [1]])
        #expect(search.isDone)
    }

    @Test func `a new listener is looked for at once, even at time zero, and found once`() {
        let search = Search()
        #expect(search.isDone)
        search.note([.appeared(listener(80, 1))])
        let found = search.search(at: at(0)) { inodes in
            #expect(inodes == [1])
            return [1: web]
        }
        #expect(found == [OwnerSearch.Found(key: listener(80, 1).key, inode: 1, owner: web)])
        #expect(search.isDone)
        #expect(search.search(at: at(9_000), unexpected).isEmpty)
    }

    @Test func `one without an owner is looked for seven times, with doubling gaps`() {
        let search = Search()
        search.note([.appeared(listener(80, 1))])
        var walks: [UInt64] = []
        for now in stride(from: UInt64(0), through: 60_000, by: 50) {
            _ = search.search(at: at(now)) { _ in
                walks.append(now)
                return [:]
            }
        }
        #expect(walks == [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500])
        #expect(search.isDone)
    }

    @Test func `a proxy whose container is not known yet is reported, and looked for again`() {
        let search = Search()
        search.note([.appeared(listener(80, 1))])
        let early = SocketOwner(pid: 9, command: "docker-proxy", container: .unknown)
        #expect(search.search(at: at(0)) { _ in [1: early] }.map(\.owner) == [early])
        #expect(!search.isDone)
        let late = SocketOwner(
            pid: 9, command: "docker-proxy", container: Container(id: "a", name: "b"))
        #expect(search.search(at: at(500)) { _ in [1: late] }.map(\.owner) == [late])
        #expect(search.isDone)
    }

    @Test
    func `one that is gone is not looked for, one that was opened again is, under its new inode`() {
        let search = Search()
        search.note([.appeared(listener(80, 1)), .appeared(listener(81, 2))])
        search.note([.vanished(listener(80, 1).key), .updated(listener(81, 3))])
        _ = search.search(at: at(0)) { inodes in
            #expect(inodes == [3])
            return [3: web]
        }
        #expect(search.isDone)
    }

    @Test func `a socket that was passed on belongs to the process that holds it now`() {
        let search = Search()
        let known = [listener(80, 1, web), listener(81, 2, SocketOwner(pid: 8, command: "other"))]
        search.verify(at: at(0), known) { $0 == web }
        var asked: [Set<UInt64>] = []
        let next = SocketOwner(pid: 9, command: "conmon")
        let found = search.search(at: at(0)) { inodes in
            asked.append(inodes)
            return [2: next]
        }
        #expect(asked == [[2]])
        #expect(found == [OwnerSearch.Found(key: known[1].key, inode: 2, owner: next)])
        #expect(search.isDone)
    }

    @Test func `an owner that is gone is forgotten when nobody is seen with its socket`() {
        let search = Search()
        let known = [listener(80, 1, web)]
        search.verify(at: at(0), known) { _ in false }
        var told: [OwnerSearch.Found] = []
        for now in stride(from: UInt64(0), through: 60_000, by: 100) {
            told += search.search(at: at(now)) { _ in [:] }
        }
        #expect(told == [OwnerSearch.Found(key: known[0].key, inode: 1, owner: nil)])
    }

    @Test func `a process that cannot be looked at is not looked for again and again`() {
        let search = Search()
        var walks = 0
        for now in stride(from: UInt64(0), through: 60_000, by: 500) {
            search.verify(at: at(now), [listener(80, 1, web)]) { _ in false }
            _ = search.search(at: at(now)) { _ in
                walks += 1
                return [1: web]
            }
        }
        #expect(walks == 1)
    }

    @Test func `a process that takes another name is still looked at, if it does not go on so`() {
        let search = Search()
        var (name, walks) = ("web", 0)
        func pass(_ now: UInt64, _ known: String, isThere: Bool) {
            let owner = SocketOwner(pid: 7, command: known)
            search.verify(at: at(now), [listener(80, 1, owner)]) { _ in isThere }
            _ = search.search(at: at(now)) { _ in
                walks += 1
                return [1: SocketOwner(pid: 7, command: name)]
            }
        }
        name = "web: master"
        pass(0, "web", isThere: false)
        #expect(walks == 1)
        pass(2_000, name, isThere: true)
        // Later it is gone, and that is noticed.
        pass(4_000, name, isThere: false)
        #expect(walks == 2)
        let other = Search()
        var asked = 0
        for turn in 0..<20 {
            let now = UInt64(turn) * 2_000
            let owner = SocketOwner(pid: 7, command: "name \(turn)")
            other.verify(at: at(now), [listener(80, 1, owner)]) { _ in false }
            _ = other.search(at: at(now)) { _ in
                asked += 1
                return [1: SocketOwner(pid: 7, command: "name \(turn + 1)")]
            }
        }
        #expect(asked == OwnerSearch.mostNames)
    }

    @Test func `of many processes some are looked at in each turn, and all in the end`() {
        let search = Search()
        let known = (1...200).map {
            listener(Port($0), UInt64($0), SocketOwner(pid: Int32($0), command: "x"))
        }
        var seen: [Int32] = []
        for now in stride(from: UInt64(0), through: 8_000, by: 100) {
            let before = seen.count
            search.verify(at: at(now), known) {
                seen.append($0.pid)
                return true
            }
            #expect(seen.count - before <= OwnerSearch.mostVerified)
        }
        #expect(Set(seen).count == 200 && search.isDone)
    }

    @Test
    func `random histories: two walks a second at most, seven for each, none that is not due`() {
        var generator = SeededGenerator()
        for _ in 0..<20 {
            let search = Search()
            var wanted: [UInt64: (tries: Int, due: UInt64)] = [:]
            var (now, next, last) = (UInt64(0), UInt64(1), UInt64?.none)
            for _ in 0..<300 {
                now += UInt64.random(in: 0...700, using: &generator)
                if Int.random(in: 0..<3, using: &generator) == 0 {
                    search.note([.appeared(listener(Port(next), next))])
                    wanted[next] = (0, 0)
                    next += 1
                }
                let isTime = last.map { now - $0 >= 500 } ?? true
                if isTime, !wanted.isEmpty { last = now }
                let due = Set(wanted.filter { isTime && $0.value.due <= now }.keys)
                var walked: Set<UInt64> = []
                let known = due.filter { _ in Int.random(in: 0..<4, using: &generator) == 0 }
                let found = search.search(at: at(now)) { inodes in
                    walked = inodes
                    return Dictionary(uniqueKeysWithValues: known.map { ($0, web) })
                }
                #expect(walked == due, "seed \(generator.seed)")
                #expect(Set(found.map(\.inode)) == known, "seed \(generator.seed)")
                for inode in due {
                    let tries = wanted[inode]!.tries
                    let isOver = known.contains(inode) || tries == 6
                    wanted[inode] = isOver ? nil : (tries + 1, now + 500 << UInt64(tries))
                }
                #expect(search.isDone == wanted.isEmpty, "seed \(generator.seed)")
            }
        }
    }

    private func unexpected(_ inodes: Set<UInt64>) -> [UInt64: SocketOwner] {
        Issue.record("no walk is due")
        return [:]
    }
}
