internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load echo`.
struct EchoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Send a message, wait for it to come back, again and again.")

    @OptionGroup var target: TargetOptions
    @Option(help: "Bytes of a message.") var size = 1
    @Option(help: "How many connections do so at once.") var flows = 1

    func run() throws {
        let load = try EchoLoad(
            endpoint: target.endpoint(), flows: flows, size: size,
            milliseconds: UInt64(target.seconds * 1_000))
        finish { try load.run() }
    }
}

/// Round trips on connections that stand.
final class EchoLoad {
    private let loop: Loop
    private var flows: [EchoFlow] = []
    private var timer: Timer?
    private let milliseconds: UInt64
    var latencies = Latencies()

    init(endpoint: Endpoint, flows count: Int, size: Int, milliseconds: UInt64) throws {
        loop = try Loop()
        self.milliseconds = milliseconds
        for _ in 0..<count {
            let connection = try Connection(loop: loop, to: endpoint)
            flows.append(
                EchoFlow(connection, size: size) { [unowned self] sent in
                    latencies.record(since: sent)
                })
        }
        timer = try Timer(loop: loop) { [unowned self] in
            timer?.close()
            for flow in flows { flow.close() }
        }
    }

    func run() throws -> [String: Figure] {
        let began = Loop.nanoseconds
        for flow in flows { try flow.start() }
        timer?.start(after: milliseconds)
        loop.run()
        let seconds = Double(Loop.nanoseconds - began) / 1e9
        if let failure = flows.lazy.compactMap(\.failure).first {
            throw LoadFailure(description: failure)
        }
        if latencies.count == 0 { throw LoadFailure(description: "no message came back in time") }
        return latencies.figures(over: seconds)
    }
}

/// One connection on which a message goes to and fro.
final class EchoFlow {
    private static let warmUp = 5

    private let connection: Connection
    private let buffer: IOBuffer
    private let message: IOBuffer
    private let completed: (_ sent: UInt64) -> Void
    private var isGreeted = false
    private var sentAt: UInt64 = 0
    private var missing = 0
    private var rounds = 0
    private(set) var failure: String?

    init(_ connection: Connection, size: Int, completed: @escaping (UInt64) -> Void) {
        self.connection = connection
        self.completed = completed
        buffer = IOBuffer(capacity: size)
        message = .filled(size)
    }

    func start() throws {
        try connection.start(.writable) { [unowned self] events in
            do {
                if events.contains(.failed) { return fail("connection failed") }
                if !isGreeted { return try greet() }
                try readable()
            } catch {
                fail("\(error)")
            }
        }
    }

    private func greet() throws {
        let greeting: [UInt8] = [0x45]
        guard try connection.write(greeting.span) != nil else { return }
        isGreeted = true
        connection.watch(.readable)
        try send()
    }

    private func send() throws {
        sentAt = Loop.nanoseconds
        missing = message.count
        let written = try message.withReadable { (bytes) throws(SystemError) in
            try connection.write(bytes)
        }
        // One small message at a time always fits into an empty buffer.
        guard written == message.count else { return fail("a message was not taken whole") }
    }

    private func readable() throws {
        buffer.clear()
        guard let count = try connection.read(into: buffer, limit: missing) else { return }
        if count == 0 { return fail("the connection ended early") }
        missing -= count
        guard missing == 0 else { return }
        rounds += 1
        if rounds > Self.warmUp { completed(sentAt) }
        if connection.isOpen { try send() }
    }

    private func fail(_ why: String) {
        failure = why
        connection.close()
    }

    func close() {
        connection.close()
    }
}
