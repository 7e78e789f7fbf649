import EventLoop
import Foundation
import Noise
import Posix
import Sockets
import Testing
import TwinportModel
import Wire

@testable import Tunnel

/// A listening endpoint on a Unix socket, and peers that type bytes.
private final class Door: TunnelEndpointDelegate {
    let loop: Loop
    let path: String
    private(set) var endpoint: TunnelEndpoint!
    var live: Session?
    var ups = 0
    var trouble: [String] = []
    /// Called when a session has ended.
    var onEnd: () -> Void = {}
    private let watcher = EndWatcher()

    /// Adopts sessions, and tells the endpoint of their end as a forwarder does.
    private final class EndWatcher: SessionDelegate {
        weak var door: Door?
        func settle() {}
        func received(_ message: ControlMessage) {}
        func opened(_ stream: TunnelStream, _ message: OpenMessage) { stream.refuse(.disabled) }
        func writeControl(to writer: inout ByteWriter, withWithdrawals: Bool) -> ControlTurn {
            .nothing
        }
        func sessionEnded(_ end: SessionEnd) {
            guard let door, let session = door.live else { return }
            door.live = nil
            door.endpoint.sessionEnded(session)
            door.onEnd()
        }
    }

    init(path: String? = nil, key: TunnelKey? = nil) throws {
        self.path =
            path ?? "/tmp/twinport-door-\(getpid())-\(UInt32.random(in: 0...(.max)))"
        loop = try Loop()
        watcher.door = self
        endpoint = TunnelEndpoint(
            loop: loop, mode: .listen(.unix(path: self.path)), key: key, admission: Admission(),
            delegate: self)
        try endpoint.start()
    }

    func close() {
        endpoint.close()
        for _ in 0..<4 { loop.runOnce() }
        loop.close()
    }

    func makeHello() -> Hello {
        Hello(
            role: .host, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "", program: "")
    }
    func refusal(of hello: Hello) -> String? { nil }
    func tunnelUp(_ session: Session, _ hello: Hello, of owner: SessionOwner) {
        ups += 1
        live = session
        session.adopt(watcher)
    }
    func tunnelSocket(_ inode: UInt64, isOpen: Bool) {}
    func tunnelTrouble(_ what: String) { trouble.append(what) }

    func turns(_ count: Int = 5) { for _ in 0..<count { loop.runOnce() } }

    /// A peer's end of a new connection.
    func connect() throws -> Caller {
        let caller = try Caller(path)
        turns()
        return caller
    }
}

private final class Caller {
    private var socket: Socket?

    init(_ path: String) throws {
        var dial = try Socket.dialUnix(path)
        socket = dial.takeSocket()
    }

    func sayHello(instance: UInt64 = 2) throws {
        var writer = ByteWriter()
        Hello(
            role: .guest, instance: instance, epoch: 1, os: "Linux", kernel: "", hostname: "",
            program: ""
        ).write(to: &writer)
        let count = try socket?.write(writer.bytes.span)
        #expect(count == writer.bytes.count)
    }

    func say(_ bytes: [UInt8]) throws {
        let count = try socket?.write(bytes.span)
        #expect(count == bytes.count)
    }

    /// Proves the key and greets.
    func prove(_ key: TunnelKey, _ door: Door) throws {
        var dialler = HandshakeState(key: key, prologue: ProofLink.prologue)
        try say([0, 48] + (try dialler.writeFirst()))
        door.turns()
        let buffer = IOBuffer(capacity: 2 + HandshakeState.messageLength)
        _ = try socket?.read(into: buffer)
        let answer = buffer.withReadable { Array(copying: $0) }
        var keys = try dialler.readSecond(answer.dropFirst(2))
        try say([0, 16] + (try keys.send.encrypt([])))
        try sayHello()
    }

    /// Whether the other end has closed.
    func isClosed() throws -> Bool {
        let buffer = IOBuffer(capacity: 65_536)
        do {
            while let count = try socket?.read(into: buffer) {
                if count == 0 { return true }
                buffer.clear()
            }
        } catch {
            return true
        }
        return false
    }

    func leave() { socket = nil }

    /// How many frames of a type came since the last call.
    func frames(_ type: FrameType) throws -> Int {
        let buffer = IOBuffer(capacity: 65_536)
        // A connection that was closed before all we said was read ends with a reset.
        while let count = (try? socket?.read(into: buffer)) ?? nil, count > 0 {}
        return try buffer.withReadable { bytes in
            var decoder = FrameDecoder()
            var (found, position) = (0, 0)
            while case .frame(let header, _) = try decoder.next(in: bytes, from: &position) {
                if header.type == type { found += 1 }
            }
            return found
        }
    }
}

@Suite struct EndpointTests {
    @Test func `a peer that greets and leaves in the same breath does not stay the live one`()
        throws
    {
        let door = try Door()
        defer { door.close() }
        let first = try door.connect()
        try first.sayHello()
        door.turns()
        #expect(door.ups == 1)
        // Comes while another is live: our HELLO is held back.
        let second = try door.connect()
        first.leave()
        door.turns()
        #expect(door.live == nil)
        // Our HELLO to it meets a closed connection.
        try second.sayHello()
        second.leave()
        door.turns()
        #expect(door.live == nil || door.live?.isEnded == false)
        // Whoever comes next is served.
        let third = try door.connect()
        try third.sayHello()
        door.turns()
        #expect(door.live != nil && door.live?.isEnded == false)
    }

    @Test func `silent connectors take turns out, a peer that greets gets in`() throws {
        let door = try Door()
        defer { door.close() }
        var silent: [Caller] = []
        for _ in 0..<50 { silent.append(try door.connect()) }
        #expect(try silent.filter { try !$0.isClosed() }.count <= 8)
        let guest = try door.connect()
        try guest.sayHello()
        door.turns()
        #expect(door.live != nil)
    }

    @Test func `sixty connections at once keep the loop from nothing`() throws {
        let door = try Door()
        defer { door.close() }
        var callers: [Caller] = []
        // As many as the queue of waiting connections takes.
        for _ in 0..<60 {
            callers.append(try Caller(door.path))
        }
        door.loop.runOnce()
        // One turn took a part of them.
        #expect(try callers.filter { try $0.isClosed() }.count < 60 - 8)
        door.turns(10)
        #expect(try callers.filter { try $0.isClosed() }.count >= 60 - 8)
    }

    @Test func `a newcomer is live at once when asking shows that the session before is dead`()
        throws
    {
        let door = try Door()
        defer { door.close() }
        let first = try door.connect()
        try first.sayHello()
        door.turns()
        let second = try door.connect()
        // In this order: the greeting is looked at first, and the question is what meets the closed socket.
        try second.sayHello()
        first.leave()
        door.turns()
        #expect(door.ups == 2 && door.live?.isEnded == false)
    }

    @Test func `newcomers without number do not make us flood the live peer`() throws {
        let door = try Door()
        defer { door.close() }
        let first = try door.connect()
        try first.sayHello()
        door.turns()
        #expect(door.live != nil)
        let start = door.loop.now
        for _ in 0..<300 {
            let newcomer = try door.connect()
            try newcomer.sayHello()
            door.turns(2)
            newcomer.leave()
            door.turns(2)
        }
        let seconds = Int(door.loop.now - start) / 1_000
        // A peer takes a hundred PINGs at once, and ends the session at more.
        let pings = try first.frames(.ping)
        #expect(pings >= 1 && pings <= 1 + seconds)
        #expect(door.live?.isEnded == false && door.ups == 1)
    }

    @Test func `a stranger is turned away at once, and the live session never hears of it`() throws
    {
        let door = try Door()
        defer { door.close() }
        let first = try door.connect()
        try first.sayHello()
        door.turns()
        for stranger in UInt64(10)..<30 {
            let newcomer = try door.connect()
            try newcomer.sayHello(instance: stranger)
            door.turns(2)
            #expect(try newcomer.isClosed())
        }
        #expect(try first.frames(.ping) == 0)
        #expect(door.live?.isEnded == false && door.ups == 1)
        #expect(door.trouble.last?.contains("already has a guest connected") == true)
        // When the owner has gone, a stranger is welcome.
        first.leave()
        door.turns()
        let next = try door.connect()
        try next.sayHello(instance: 30)
        door.turns()
        #expect(door.ups == 2)
    }

    @Test func `with a key, silent and wrong connections cost no session its place`() throws {
        let key = TunnelKey.random()
        let door = try Door(key: key)
        defer { door.close() }
        var callers: [Caller] = []
        for _ in 0..<Lobby.seats + 10 { callers.append(try door.connect()) }
        #expect(try callers.filter { try !$0.isClosed() }.count == Lobby.seats)
        let keyless = try door.connect()
        try keyless.sayHello()
        door.turns()
        #expect(try keyless.frames(.goAway) == 1)
        #expect(door.trouble.last?.contains("this side asks for a key") == true)
        var dialler = HandshakeState(key: .random(), prologue: ProofLink.prologue)
        let wrong = try door.connect()
        try wrong.say([0, 48] + (try dialler.writeFirst()))
        door.turns()
        #expect(try wrong.frames(.goAway) == 1)
        #expect(door.trouble.last?.contains("same key") == true)
        #expect(door.ups == 0)
        let guest = try door.connect()
        try guest.prove(key, door)
        door.turns()
        #expect(door.live != nil)
    }

    @Test func `who takes the place of one that stops keeps it`() throws {
        let first = try Door()
        let caller = try first.connect()
        try caller.sayHello()
        first.turns()
        #expect(first.live != nil)
        var second: Door?
        // In the middle of the first one's end, which takes long where there are many flows.
        let path = first.path
        first.onEnd = { second = try? Door(path: path) }
        first.close()
        first.onEnd = {}
        let successor = try #require(second)
        defer { successor.close() }
        let next = try successor.connect()
        try next.sayHello()
        successor.turns()
        #expect(successor.live != nil)
    }

    @Test func `what cannot be listened for at the same time`() throws {
        func excludes(_ one: String, _ two: String) throws -> Bool {
            let (one, two) = (try TunnelURI(parsing: one), try TunnelURI(parsing: two))
            #expect(!TunnelMode.listen(one).excludes(.connect(two)))
            return TunnelMode.listen(one).excludes(.listen(two))
        }
        #expect(try excludes("unix:///a/b", "unix:///a/b"))
        #expect(try !excludes("unix:///a/b", "unix:///a/c"))
        #expect(try excludes("unix:///a/b_7", "firecracker:///a/b?port=7"))
        #expect(try excludes("tcp://127.0.0.1:7", "tcp://0.0.0.0:7"))
        #expect(try !excludes("tcp://127.0.0.1:7", "tcp://127.0.0.1:8"))
        #expect(try excludes("vsock://any:7", "vsock://3:7"))
        #expect(try !excludes("vsock://any:7", "unix:///a/b"))
        #expect(try !excludes("tcp://127.0.0.1:7", "vsock://any:8"))
    }
}
