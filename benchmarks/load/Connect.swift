internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load connect`.
struct ConnectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Connect, send a byte, get it back, FIN each way, again and again.")

    @OptionGroup var target: TargetOptions
    @Option(help: "How many do so at once.") var parallel = 1

    func run() throws {
        let load = try ConnectLoad(
            endpoint: target.endpoint(), parallel: parallel,
            milliseconds: UInt64(target.seconds * 1_000))
        finish { try load.run() }
    }
}

/// Connections that last for one byte.
final class ConnectLoad {
    private let loop: Loop
    private let endpoint: Endpoint
    private let parallel: Int
    private let milliseconds: UInt64
    private var timer: Timer?
    private var isOver = false
    private var current: [Int: ShortConnection] = [:]
    private var latencies = Latencies()
    private var failures = 0
    private var firstFailure: String?

    init(endpoint: Endpoint, parallel: Int, milliseconds: UInt64) throws {
        loop = try Loop()
        self.endpoint = endpoint
        self.parallel = parallel
        self.milliseconds = milliseconds
        timer = try Timer(loop: loop) { [unowned self] in
            isOver = true
            timer?.close()
        }
    }

    func run() throws -> [String: Figure] {
        let began = Loop.nanoseconds
        timer?.start(after: milliseconds)
        for lane in 0..<parallel { next(lane) }
        loop.run()
        let seconds = Double(Loop.nanoseconds - began) / 1e9
        if latencies.count == 0 {
            throw LoadFailure(description: firstFailure ?? "no connection was made")
        }
        var figures = latencies.figures(over: seconds)
        figures["failures"] = .number(Double(failures))
        return figures
    }

    private func next(_ lane: Int) {
        current[lane] = nil
        guard !isOver else { return }
        do {
            let connection = try ShortConnection(loop: loop, endpoint: endpoint) {
                [unowned self] began, failure in
                if let failure { failed(failure) } else { latencies.record(since: began) }
                next(lane)
            }
            current[lane] = connection
            try connection.start()
        } catch {
            failed("\(error)")
            isOver = true
        }
    }

    private func failed(_ why: String) {
        failures += 1
        if firstFailure == nil { firstFailure = why }
        // A path that only fails would be tried without end.
        if failures > 1_000 { isOver = true }
    }
}

/// One connection: dial, `E` and a byte, the byte back, FIN, FIN.
final class ShortConnection {
    private let connection: Connection
    private let began: UInt64
    private let buffer = IOBuffer(capacity: 16)
    private let done: (_ began: UInt64, _ failure: String?) -> Void
    private var isAnswered = false

    init(
        loop: Loop, endpoint: Endpoint, done: @escaping (UInt64, String?) -> Void
    ) throws {
        began = Loop.nanoseconds
        self.done = done
        connection = try Connection(loop: loop, to: endpoint)
    }

    func start() throws {
        try connection.start(.writable) { [self] events in
            do {
                if events.contains(.failed) { return end("connection failed") }
                if events.contains(.writable) { return try send() }
                try readable()
            } catch {
                end("\(error)")
            }
        }
    }

    private func send() throws {
        let message: [UInt8] = [0x45, 0x21]
        guard try connection.write(message.span) != nil else { return }
        connection.watch(.readable)
    }

    private func readable() throws {
        guard let count = try connection.read(into: buffer) else { return }
        if count > 0 {
            isAnswered = true
            return connection.finish()
        }
        end(isAnswered ? nil : "ended before the answer")
    }

    private func end(_ failure: String?) {
        connection.close()
        done(began, failure)
    }
}
