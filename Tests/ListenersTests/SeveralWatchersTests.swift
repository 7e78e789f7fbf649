import EventLoop
import Glibc
import Posix
import Sockets
import TestSupport
import Testing
import TwinportModel

@testable import Listeners

/// What one watcher has delivered, seen from any thread.
private final class Sight: Sendable {
    private let known = Locked<[ListenerKey: Listener]>([:])

    func take(_ changes: ListenerChanges) {
        known.withLock { known in
            for change in changes.changes {
                switch change {
                case .appeared(let listener), .updated(let listener):
                    known[listener.key] = listener
                case .vanished(let key): known[key] = nil
                }
            }
        }
    }

    /// The TCP sockets that listen, by port and inode; one that is only bound is told, too, but with its obstacle.
    var tcp: [Port: UInt64] {
        known.withLock { known in
            var ports: [Port: UInt64] = [:]
            for (key, listener) in known where key.kind == .tcp && listener.traits.obstacle == nil {
                ports[key.endpoint.port] = listener.inode
            }
            return ports
        }
    }

    /// Waits until `isGood` holds, 20 seconds at most: under a sanitizer and beside other tests, one search for owners
    /// takes seconds.
    func wait(_ isGood: ([Port: UInt64]) -> Bool) -> Bool {
        for _ in 0..<2_000 {
            if isGood(tcp) { return true }
            usleep(10_000)
        }
        return false
    }
}

/// A watcher on a thread in a network namespace of its own, where a socket listens and another one is bound.
private final class Land: Sendable {
    let sight = Sight()
    private let watcher: ListenerWatcher
    private let made = Locked<Made?>(nil)

    /// Two sockets that are only read.
    private final class Made: @unchecked Sendable {
        let listening: Socket
        let bound: Socket

        init(_ listening: consuming Socket, _ bound: consuming Socket) {
            self.listening = consume listening
            self.bound = consume bound
        }
    }

    init(ports: (Port, Port)) throws {
        let sight = sight
        watcher = ListenerWatcher(own: OwnSockets(), options: WatchOptions()) { sight.take($0) }
        let (watcher, made) = (watcher, made)
        try LoopThread.runToEnd {
            guard NetworkNamespace.enter(),
                let listening = try? Socket.boundTCP(
                    to: Endpoint(.anyV4, ports.0), isV6Only: false),
                let bound = try? Socket.boundTCP(to: Endpoint(.anyV4, ports.1), isV6Only: false)
            else { return }
            try? listening.listenForConnections()
            try? watcher.start()
            let both = Made(listening, bound)
            made.withLock { $0 = both }
        }
    }

    /// The inodes of the two sockets; nil when they could not be made.
    var inodes: (UInt64, UInt64)? {
        made.withLock { made in
            guard let first = try? made?.listening.inode(),
                let second = try? made?.bound.inode()
            else { return nil }
            return (first, second)
        }
    }

    /// Lets the second socket listen, too.
    func listen() {
        made.withLock { made in try? made?.bound.listenForConnections() }
    }

    deinit { watcher.stop() }
}

/// Several watchers in one process. One test at a time: they share the numbers of trace instances.
@Suite(.serialized) struct SeveralWatchersTests {
    @Test(
        .enabled(
            if: NetworkNamespace.isPermitted, "needs the privilege to make a network namespace"))
    func `watchers on threads in network namespaces of their own see their own listeners only`()
        throws
    {
        let outside = Sight()
        let process = ListenerWatcher(own: OwnSockets(), options: WatchOptions()) {
            outside.take($0)
        }
        let socket = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: false)
        try socket.listenForConnections()
        let (port, inode) = (try socket.localEndpoint().port, try socket.inode())
        try process.start()
        defer { process.stop() }

        // The same ports in both: only what the sockets are tells them apart.
        let lands = [try Land(ports: (7_001, 7_002)), try Land(ports: (7_001, 7_002))]
        #expect(outside.wait { $0[port] == inode })
        for land in lands {
            let (first, second) = try #require(land.inodes)
            #expect(land.sight.wait { !$0.isEmpty })
            #expect(land.sight.tcp == [7_001: first])
            #expect(outside.tcp[7_001] != first)
            land.listen()
            #expect(land.sight.wait { $0.count == 2 })
            #expect(land.sight.tcp == [7_001: first, 7_002: second])
        }
    }

    @Test(
        .enabled(
            if: (try? SocketEventRing()) != nil,
            "the kernel's account of sockets needs root and Linux 5.10"))
    func `each account tells of its own network, and not of the threads that are left out`() throws
    {
        let ring = try SocketEventRing()
        @Sendable func bind() throws -> Port {
            let socket = try Socket.boundUDP(to: Endpoint(.loopbackV4, 0), isV6Only: false) { _ in }
            return try socket.localEndpoint().port
        }
        func told() -> [SocketEvent] {
            var events: [SocketEvent] = []
            _ = ring.take { events.append($0) }
            return events
        }
        let before = ring.position
        let port = try bind()
        #expect(ring.position > before)
        let expected = SocketEvent.bound(
            .udp, port, kernelChose: true, process: getpid(), byRoot: getuid() == 0)
        #expect(told().contains(expected))
        #expect(told().isEmpty)
        ring.leaveOutCaller()
        let silent = try bind()
        let other = Locked<Port?>(nil)
        try LoopThread.runToEnd {
            ring.leaveOutCaller()
            let port = try? bind()
            other.withLock { $0 = port }
        }
        let alsoSilent = try #require(other.withLock { $0 })
        for case .bound(.udp, let port, _, _, _) in told() {
            #expect(port != silent && port != alsoSilent)
        }
    }
}
