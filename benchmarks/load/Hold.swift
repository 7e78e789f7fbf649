internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load hold`.
struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Open idle connections, each proven by one byte there and back, and keep them.")

    @Option(help: "The IPv4 address to dial.") var address = "127.0.0.1"
    @Option(help: "The port to dial.") var port: UInt16
    @Option(help: "How many.") var flows = 1_000

    func run() throws {
        let load = try HoldLoad(endpoint: parseEndpoint(address, port), count: flows)
        finish { try load.run() }
    }
}

/// Idle connections. At most 64 are being made at a time.
final class HoldLoad {
    private static let atOnce = 64

    private let loop: Loop
    private let endpoint: Endpoint
    private let count: Int
    private var started = 0
    private var proven = 0
    private var connections: [Connection] = []
    private let scratch = IOBuffer(capacity: 16)
    private var failure: String?

    init(endpoint: Endpoint, count: Int) throws {
        loop = try Loop()
        self.endpoint = endpoint
        self.count = count
    }

    func run() throws -> [String: Figure] {
        for _ in 0..<min(count, Self.atOnce) { try next() }
        loop.run()
        throw LoadFailure(description: failure ?? "no connection is left")
    }

    private func next() throws {
        guard started < count else { return }
        started += 1
        let connection = try Connection(loop: loop, to: endpoint)
        connections.append(connection)
        try connection.start(.writable) { [unowned self] events in
            do {
                try ready(connection, events)
            } catch {
                failure = "\(error)"
                loop.stop()
            }
        }
    }

    private func ready(_ connection: Connection, _ events: Poller.Events) throws {
        if events.contains(.writable) {
            let message: [UInt8] = [0x45, 0x21]
            if try connection.write(message.span) != nil { connection.watch(.readable) }
            return
        }
        scratch.clear()
        guard let count = try connection.read(into: scratch) else { return }
        guard count == 1 else { throw LoadFailure(description: "a connection ended") }
        proven += 1
        if proven == self.count { printLine("ready") }
        try next()
    }
}

/// `twinport-load listeners`.
struct ListenersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "listeners", abstract: "Listen on many TCP ports, or come and go on some.")

    @Option(help: "The first port.") var first: UInt16
    @Option(help: "How many.") var count = 1_000
    @Option(help: "Close and reopen one of them every so many milliseconds; 0 never.") var churn = 0

    func run() throws {
        let loop = try Loop()
        let farm = try ListenerFarm(loop: loop, first: first, count: count)
        // Also keeps the loop running when nothing comes and goes.
        let timer = try Timer(loop: loop) { farm.replaceOne() }
        timer.start(after: UInt64(max(churn, 1)), every: churn == 0 ? 3_600_000 : UInt64(churn))
        printLine("ready")
        loop.run()
    }
}

/// Listening sockets that nobody accepts from.
final class ListenerFarm {
    private final class Item {
        let socket: Socket
        init(port: UInt16) throws {
            socket = try Socket.boundTCP(
                to: Endpoint(.v4(IPv4Address(bits: 0x7f00_0001)), port), isV6Only: true)
            try socket.listenForConnections()
        }
    }

    private let first: UInt16
    private var items: [Item?] = []
    private var turn = 0

    init(loop: Loop, first: UInt16, count: Int) throws {
        self.first = first
        for index in 0..<count { items.append(try Item(port: first + UInt16(index))) }
    }

    /// Closes the next listener if it is open, opens it if it is closed.
    func replaceOne() {
        guard !items.isEmpty else { return }
        turn = (turn + 1) % items.count
        // A port that somebody else took meanwhile stays closed until its next turn.
        items[turn] = items[turn] == nil ? try? Item(port: first + UInt16(turn)) : nil
    }
}
