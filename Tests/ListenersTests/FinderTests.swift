import EventLoop
import Foundation
import Posix
import Testing
import TwinportModel

@testable import Listeners

/// Knows two sockets.
private final class FixedFinder: ProcessFinder {
    static let web = SocketOwner(
        pid: 7, command: "nginx",
        container: Container(id: String(repeating: "ab", count: 32), name: "web"))
    static let shell = {
        var owner = SocketOwner(pid: 8, command: "twinport")
        owner.pair = "guest web, settings /etc/b.yaml"
        return owner
    }()

    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]? {
        [1: Self.web, 2: Self.shell].filter { inodes.contains($0.key) }
    }

    func owners(at addresses: Set<IPAddress>) -> [IPAddress: SocketOwner]? {
        [IPAddress("10.88.0.2")!: Self.web, IPAddress("fd00::2")!: Self.shell]
            .filter { addresses.contains($0.key) }
    }

    func held(among inodes: Set<UInt64>) -> Set<UInt64>? { inodes.filter { $0 % 2 == 0 } }

    func held(among inodes: Set<UInt64>, by pid: Int32) -> Set<UInt64>? {
        inodes.filter { $0 == UInt64(pid) }
    }

    func canSeeAll() -> Bool? { true }

    func namespaces(most: Int) -> [ForeignNamespace]? {
        (0..<most).map { ForeignNamespace(name: "net:[\($0)]", pid: Int32($0)) }
    }
}

/// Everything is held; counts how many sockets each walk is for.
private final class CountingFinder: ProcessFinder {
    private let walks: Locked<[Int]>

    init(_ walks: Locked<[Int]>) { self.walks = walks }
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]? { [:] }
    func owners(at addresses: Set<IPAddress>) -> [IPAddress: SocketOwner]? { [:] }
    func held(among inodes: Set<UInt64>) -> Set<UInt64>? {
        walks.withLock { $0.append(inodes.count) }
        return inodes
    }
    func held(among inodes: Set<UInt64>, by pid: Int32) -> Set<UInt64>? { [] }
    func canSeeAll() -> Bool? { true }
    func namespaces(most: Int) -> [ForeignNamespace]? { [] }
}

@Suite struct FinderTests {
    private func pair() throws -> (PacketPipe, PacketPipe) {
        var raw: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &raw) == 0)
        return (PacketPipe(OwnedFD(taking: raw[0])), PacketPipe(OwnedFD(taking: raw[1])))
    }

    @Test func `a question and its answer read back`() throws {
        let questions: [FinderQuestion] = [
            .owners([]), .owners([1, .max]), .held([5]), .heldBy(pid: 9, [1, 2]), .seesAll,
            .namespaces(most: 16), .more([3, 4]), .ownersAt([]),
            .ownersAt(["10.88.0.2", "fd00::2"]),
        ]
        for question in questions {
            let read = try #require(FinderQuestion.read(question.packet(number: 77)))
            #expect(read.number == 77 && read.question == question)
        }
        let items: [FinderItem] = [
            .owner(inode: 1, FixedFinder.web), .owner(inode: .max, FixedFinder.shell), .held(3),
            .seesAll(true), .namespace(ForeignNamespace(name: "net:[1]", pid: 4)),
            .ownerAt(address: "fd00::2", FixedFinder.web),
        ]
        let packets = FinderItem.packets(items, number: 5)
        #expect(packets.count == 1)
        let read = try #require(FinderItem.read(packets[0]))
        #expect(read.number == 5 && read.isLast && read.items == items)
    }

    @Test func `a long answer takes several packets, none of them too long`() throws {
        let items = (0..<5_000).map { FinderItem.owner(inode: UInt64($0), FixedFinder.web) }
        let packets = FinderItem.packets(items, number: 1)
        #expect(packets.count > 1)
        #expect(packets.allSatisfy { $0.count <= FinderQuestion.longestPacket })
        let read = packets.compactMap(FinderItem.read)
        #expect(read.flatMap(\.items) == items)
        #expect(read.map(\.isLast) == packets.indices.map { $0 == packets.count - 1 })
    }

    @Test func `what is cut off, too long or nonsense is refused`() {
        let question = FinderQuestion.heldBy(pid: 9, [1, 2]).packet(number: 1)
        for length in 0..<question.count where (length - 9) % 8 != 0 {
            #expect(FinderQuestion.read(Array(question[..<length])) == nil)
        }
        let answer = FinderItem.packets([.owner(inode: 1, FixedFinder.web)], number: 1)[0]
        for length in 0..<answer.count where length != 5 {
            #expect(FinderItem.read(Array(answer[..<length])) == nil)
        }
        #expect(FinderQuestion.read([1, 0, 0, 0, 9]) == nil)
        let many = [UInt8](repeating: 1, count: 5 + 8 * (FinderQuestion.mostInodes + 1))
        #expect(FinderQuestion.read(many) == nil)
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...40)).map { _ in
                UInt8.random(in: 0...6, using: &generator)
            }
            _ = FinderQuestion.read(bytes)
            _ = FinderItem.read(bytes)
        }
    }

    @Test func `a finder answers what it is asked`() throws {
        let (parent, child) = try pair()
        let ended = Latch<Bool>()
        try LoopThread.start(named: "test") {
            FinderProcess.serve(child, FixedFinder())
            ended.fulfil(true)
        }
        let finder = FinderProcess(parent)
        #expect(finder.owners(of: [1, 2, 3]) == [1: FixedFinder.web, 2: FixedFinder.shell])
        #expect(finder.owners(of: []) == [:])
        // More than one question holds.
        let many = Set((0..<UInt64(10_000)))
        #expect(finder.held(among: many) == many.filter { $0 % 2 == 0 })
        #expect(finder.held(among: [5, 6], by: 5) == [5])
        #expect(finder.canSeeAll() == true)
        #expect(finder.namespaces(most: 3)?.map(\.pid) == [0, 1, 2])
        // It ends with its parent.
        parent.end()
        #expect(ended.wait())
    }

    @Test func `a finder that ends, or says nonsense, leaves its parent without owners`() throws {
        for nonsense in [nil, [UInt8](repeating: 9, count: 30)] {
            let (parent, child) = try pair()
            let finder = FinderProcess(parent)
            let told = Locked(0)
            finder.whenEnded { told.withLock { $0 += 1 } }
            #expect(finder.problem == nil)
            if let nonsense { _ = child.send(nonsense) } else { child.end() }
            // Its end shows before anybody asks.
            #expect(finder.isMissing == (nonsense == nil))
            #expect(finder.owners(of: [1]) == nil)
            #expect(finder.problem != nil)
            #expect(finder.canSeeAll() == nil && finder.held(among: [2]) == nil)
            #expect(told.withLock { $0 } == 1)
        }
    }

    @Test func `many sockets are looked for in one walk`() throws {
        let (parent, child) = try pair()
        let walks = Locked<[Int]>([])
        try LoopThread.start(named: "test") { FinderProcess.serve(child, CountingFinder(walks)) }
        let finder = FinderProcess(parent, patience: 20_000)
        let all = Set(1...UInt64(3 * FinderQuestion.mostInodes + 1))
        #expect(finder.held(among: all) == all)
        #expect(finder.held(among: [7]) == [7])
        #expect(walks.withLock { $0 } == [all.count, 1])
        parent.end()
    }

    @Test func `an answer to a question that was given up is not taken for another one's`() throws {
        let (parent, child) = try pair()
        let finder = FinderProcess(parent, patience: 50)
        let (given, late) = (Latch<Bool>(), Latch<Bool>())
        try LoopThread.start(named: "test") {
            guard case .packet(let bytes) = child.receive(limit: 100),
                let first = FinderQuestion.read(bytes)
            else { return }
            _ = given.wait()
            for packet in FinderItem.packets([.held(1)], number: first.number) {
                _ = child.send(packet)
            }
            late.fulfil(true)
            FinderProcess.serve(child, FixedFinder())
        }
        #expect(finder.held(among: [1]) == nil)
        // Not asked again before the answer came: nobody waits twice.
        #expect(finder.held(among: [4]) == nil)
        given.fulfil(true)
        #expect(late.wait())
        // A busy machine may take longer than such a short patience.
        var held: Set<UInt64>?
        for _ in 0..<100 where held == nil { held = finder.held(among: [4]) }
        #expect(held == [4])
        parent.end()
    }

    @Test func `owners that a late answer names are known at the next question`() throws {
        let (parent, child) = try pair()
        let finder = FinderProcess(parent, patience: 50)
        let (given, sent) = (Latch<Bool>(), Latch<Bool>())
        let owner = SocketOwner(pid: 7, command: "nginx", container: nil)
        try LoopThread.start(named: "test") {
            guard case .packet(let bytes) = child.receive(limit: 100),
                let first = FinderQuestion.read(bytes)
            else { return }
            _ = given.wait()
            for packet in FinderItem.packets([.owner(inode: 1, owner)], number: first.number) {
                _ = child.send(packet)
            }
            sent.fulfil(true)
        }
        #expect(finder.owners(of: [1]) == nil)
        given.fulfil(true)
        #expect(sent.wait())
        // What else is asked has no answer, which takes nothing away.
        #expect(finder.owners(of: [1, 2]) == [1: owner])
        parent.end()
    }

    @Test func `the owner of a socket of ours is this process`() throws {
        let raw = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(raw) }
        var status = stat()
        try #require(fstat(raw, &status) == 0)
        let inode = UInt64(status.st_ino)
        let finder = OwnerFinder()
        #expect(finder.owners(of: [inode])?[inode]?.pid == getpid())
        #expect(finder.held(among: [inode]) == [inode])
        #expect(finder.held(among: [inode], by: getpid()) == [inode])
        #expect(finder.held(among: [inode], by: 1) == [])
    }
}
