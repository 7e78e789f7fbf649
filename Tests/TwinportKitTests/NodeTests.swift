import EventLoop
import Foundation
import Logging
import Testing
import TwinportKit
import TwinportModel

/// Collects events from a node's threads.
private final class Events: Sendable {
    private let events = Locked<[Event]>([])

    func add(_ event: Event) { events.withLock { $0.append(event) } }
    var all: [Event] { events.withLock { $0 } }

    /// Waits until there is an event that `isMeant`.
    func wait(_ isMeant: (Event.Kind) -> Bool) -> Bool {
        let deadline = Date().addingTimeInterval(20)
        while Date() < deadline {
            if all.contains(where: { isMeant($0.kind) }) { return true }
            usleep(5_000)
        }
        return false
    }
}

@Suite(.serialized) struct NodeTests {
    private let folder = "/tmp/twinport-node-\(UUID().uuidString)"

    private func configuration(
        _ role: Role, _ tunnel: NodeTunnel = .adopted
    ) -> NodeConfiguration {
        NodeConfiguration(
            role: role, tunnel: tunnel,
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    private func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    @Test func `both roles in one network are turned away, and both say why`() throws {
        let (host, guest) = (Node(configuration(.host)), Node(configuration(.guest)))
        let (hostEvents, guestEvents) = (Events(), Events())
        _ = host.subscribe { hostEvents.add($0) }
        _ = guest.subscribe { guestEvents.add($0) }
        try host.start()
        try guest.start()
        let (one, other) = try pair()
        try host.adopt(one)
        try guest.adopt(other)
        // The guest hears it from the host, which it took for its own until then.
        func isRefusal(_ kind: Event.Kind) -> Bool {
            switch kind {
            case .tunnelTrouble(let why), .sessionDown(let why): why.contains("in the guest")
            default: false
            }
        }
        #expect(hostEvents.wait(isRefusal) && guestEvents.wait(isRefusal))
        #expect(try host.status().peer == nil && host.status().trouble?.isEmpty == false)
        #expect(try host.flows().isEmpty)
        #expect(host.stop() && guest.stop())
    }

    @Test func `what cannot be adopted stays the caller's`() throws {
        let node = Node(configuration(.host))
        #expect(throws: NodeError.notRunning) { try node.adopt(0) }
        try node.start()
        defer { node.stop() }
        var pipes: [Int32] = [0, 0]
        try #require(pipe(&pipes) == 0)
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &ends) == 0)
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(listen(listening, 1) == 0)
        let unconnected = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        for descriptor in [pipes[0], ends[0], listening, unconnected, -1] {
            do {
                try node.adopt(descriptor)
                Issue.record("descriptor \(descriptor) was adopted")
            } catch {
                guard case .badDescriptor(let words) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(words.contains("descriptor \(descriptor)"))
            }
        }
        for descriptor in pipes + ends + [listening, unconnected] {
            #expect(close(descriptor) == 0)
        }
    }

    @Test func `a descriptor that is adopted twice has one owner`() throws {
        let node = Node(configuration(.host))
        try node.start()
        defer { node.stop() }
        let (one, other) = try pair()
        defer { close(other) }
        // Far above the numbers that other tests of this process get meanwhile.
        let high = fcntl(one, F_DUPFD, 5_000)
        close(one)
        try node.adopt(high)
        #expect(throws: NodeError.self) { try node.adopt(high) }
    }

    @Test func `a tunnel that cannot be opened is an error with what to do`() throws {
        let wanting = Node(
            configuration(.guest, .opened(.connect(.tcp(Endpoint(.loopbackV4, 1))), key: nil)))
        do {
            try wanting.start()
            Issue.record("started without a key")
        } catch {
            #expect("\(error)".contains("needs a key"))
        }
        #expect(throws: NodeError.notRunning) { try wanting.ports() }
        let path = "/proc/nowhere/tunnel.sock"
        #expect(throws: NodeError.self) {
            try Node(configuration(.host, .opened(.listen(.unix(path: path))))).start()
        }
    }

    @Test func `a tunnel moves, stays where it is, and comes back when the new place is taken`()
        throws
    {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func place(_ name: String) -> NodeTunnel {
            .opened(.listen(.unix(path: "\(folder)/\(name)")))
        }
        let node = Node(configuration(.host, place("a")))
        try node.start()
        defer { node.stop() }
        #expect(FileManager.default.fileExists(atPath: "\(folder)/a"))
        #expect(try !node.move(to: place("a")))
        #expect(try node.move(to: place("b")))
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/a"))
        try Data("x".utf8).write(to: URL(fileURLWithPath: "\(folder)/taken"))
        #expect(throws: NodeError.self) { try node.move(to: place("taken")) }
        #expect(FileManager.default.fileExists(atPath: "\(folder)/b"))
    }

    @Test func `a stopped node answers nothing, and stops only once`() throws {
        let node = Node(configuration(.guest))
        try node.start()
        #expect(throws: NodeError.self) { try node.start() }
        #expect(node.stop() && node.stop())
        #expect(throws: NodeError.notRunning) { try node.status() }
        #expect(throws: NodeError.notRunning) {
            try node.update(policy: .guest, watch: WatchOptions())
        }
    }

    @Test func `a node that is started and stopped twenty times leaves nothing`() throws {
        func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        }
        try Node(configuration(.guest)).start()
        let before = try descriptors()
        for _ in 0..<20 {
            let node = Node(configuration(.guest))
            try node.start()
            node.stop()
        }
        // Watchers end on threads of their own, after the scan in which they are; and other tests hold some descriptors
        // meanwhile. Twenty nodes that leave one each leave more than they do.
        let deadline = Date().addingTimeInterval(60)
        while try descriptors() > before + 8, Date() < deadline { usleep(20_000) }
        #expect(try descriptors() < before + 20)
    }

    @Test func `events have numbers without a gap, and a late subscriber gets the kept ones`()
        throws
    {
        let node = Node(configuration(.host))
        try node.start()
        defer { node.stop() }
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        try #require(listen(socket, 1) == 0)
        let early = Events()
        let number = node.subscribe(after: 0) { early.add($0) }
        #expect(
            early.wait {
                if case .port(let port) = $0 { port.direction == .hostToGuest } else { false }
            })
        node.unsubscribe(number)
        let late = Events()
        _ = node.subscribe(after: 0) { late.add($0) }
        let seen = late.all
        #expect(seen.map(\.sequence) == Array(1...UInt64(seen.count)))
        #expect(Array(seen.prefix(early.all.count)) == early.all)
        let rest = Events()
        _ = node.subscribe(after: 2) { rest.add($0) }
        #expect(rest.all.first?.sequence == (seen.count > 2 ? 3 : nil))
    }
}
