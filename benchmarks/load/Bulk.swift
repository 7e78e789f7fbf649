internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load bulk`.
struct BulkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bulk", abstract: "Move as many bytes as the path carries.")

    enum Direction: String, ExpressibleByArgument, CaseIterable {
        case up
        case down
        case both
    }

    @OptionGroup var target: TargetOptions
    @Option(help: "How many connections at once.") var streams = 1
    @Option(help: "Which way: \(Direction.allCases.map(\.rawValue)).") var direction = Direction.up

    func run() throws {
        let load = try BulkLoad(
            endpoint: target.endpoint(), streams: streams, sends: direction != .down,
            receives: direction != .up, milliseconds: UInt64(target.seconds * 1_000))
        finish { try load.run() }
    }
}

/// Bulk over several connections. Sent bytes count when the server has them, received ones until the time is up.
final class BulkLoad {
    /// How much is read and written at once: what iperf3 does.
    static let chunk = 128 << 10

    private let loop: Loop
    private var flows: [BulkFlow] = []
    private var timer: Timer?
    private let milliseconds: UInt64
    private var began: UInt64 = 0
    private var stopped: UInt64 = 0
    private var receivedInTime: [UInt64] = []
    let scratch = IOBuffer(capacity: BulkLoad.chunk)
    let supply = IOBuffer.filled(BulkLoad.chunk)

    init(
        endpoint: Endpoint, streams: Int, sends: Bool, receives: Bool, milliseconds: UInt64
    ) throws {
        loop = try Loop()
        self.milliseconds = milliseconds
        for _ in 0..<streams {
            flows.append(
                BulkFlow(
                    try Connection(loop: loop, to: endpoint), load: self, sends: sends,
                    receives: receives))
        }
        timer = try Timer(loop: loop) { [unowned self] in stop() }
    }

    func run() throws -> [String: Figure] {
        began = Loop.nanoseconds
        for flow in flows { try flow.start() }
        timer?.start(after: milliseconds)
        loop.run()
        let ended = Loop.nanoseconds
        if let failure = flows.lazy.compactMap(\.failure).first {
            throw LoadFailure(description: failure)
        }
        return report(ended: ended)
    }

    private func stop() {
        stopped = Loop.nanoseconds
        receivedInTime = flows.map(\.received)
        for flow in flows { flow.stop() }
        // A path that does not deliver the end within ten seconds has failed.
        timer?.close()
        timer = nil
    }

    private func report(ended: UInt64) -> [String: Figure] {
        let sent = flows.map { Double($0.delivered) }
        let received = receivedInTime.map { Double($0) }
        let upBytes = sent.reduce(0, +)
        let downBytes = received.reduce(0, +)
        let up = upBytes * 8 / Double(ended - began)
        let down = downBytes * 8 / Double(stopped - began)
        let each = zip(sent, received).map(+)
        return [
            "gbps": .number(up + down), "up_gbps": .number(up), "down_gbps": .number(down),
            "bytes": .number(upBytes + downBytes),
            "fairness": .number(Self.fairness(each)),
        ]
    }

    /// Jain's index: 1 when all got the same, 1/n when one got all.
    private static func fairness(_ shares: [Double]) -> Double {
        let sum = shares.reduce(0, +)
        let squares = shares.reduce(0) { $0 + $1 * $1 }
        return squares == 0 ? 0 : sum * sum / (Double(shares.count) * squares)
    }
}

/// One connection of a bulk load.
final class BulkFlow {
    private let connection: Connection
    private unowned let load: BulkLoad
    private let sends: Bool
    private let receives: Bool
    private var isGreeted = false
    private var isStopped = false
    /// The last bytes received: at the end, the server's.
    private var ending = TransferEnd(mark: 0, count: 0)
    private(set) var received: UInt64 = 0
    private var sent: UInt64 = 0
    /// What the server says it received.
    private(set) var delivered: UInt64 = 0
    private(set) var failure: String?

    init(_ connection: Connection, load: BulkLoad, sends: Bool, receives: Bool) {
        self.connection = connection
        self.load = load
        self.sends = sends
        self.receives = receives
    }

    func start() throws {
        try connection.start([.readable, .writable]) { [unowned self] events in
            do {
                if events.contains(.failed) { return fail("connection failed") }
                if events.contains(.readable) { try readable() }
                if events.contains(.writable), connection.isOpen { try writable() }
            } catch {
                fail("\(error)")
            }
        }
    }

    private func writable() throws {
        if !isGreeted {
            let greeting: [UInt8] = [receives ? 0x47 : 0x44]
            guard try connection.write(greeting.span) != nil else { return }
            isGreeted = true
        }
        guard sends, !isStopped else { return connection.watch(.readable) }
        let supply = load.supply
        let size = supply.count
        for _ in 0..<4 {
            let written = try supply.withReadable { (bytes) throws(SystemError) in
                try connection.write(bytes)
            }
            sent += UInt64(written ?? 0)
            guard let written, written == size else { return }
        }
    }

    private func readable() throws {
        let scratch = load.scratch
        for _ in 0..<4 {
            scratch.clear()
            guard let count = try connection.read(into: scratch) else { return }
            if count == 0 { return ended() }
            received += UInt64(count)
            scratch.withReadable { bytes in
                for index in max(0, count - TransferEnd.size)..<count {
                    ending.append(bytes[index])
                }
            }
            if count < BulkLoad.chunk { return }
        }
    }

    func stop() {
        isStopped = true
        connection.watch(.readable)
        connection.finish()
    }

    private func ended() {
        if !isStopped {
            failure = "the connection ended early"
        } else if ending.mark != TransferEnd.mark {
            failure =
                "after \(sent) bytes sent and \(received) received, the connection ended before the "
                + "server's count of what it has: the path lost the end of the transfer"
        } else {
            delivered = ending.count
        }
        if failure == nil, delivered != sent {
            failure = "of \(sent) bytes sent, the server says it has \(delivered)"
        }
        connection.close()
    }

    private func fail(_ why: String) {
        failure = why
        connection.close()
    }
}

/// What the server sends last: so many bytes it has received.
struct TransferEnd {
    /// Tells the count from whatever else came last.
    static let mark: UInt64 = 0x5452_4F50_4E49_5754
    static let size = 16

    private(set) var mark: UInt64
    private(set) var count: UInt64

    /// The ending of all bytes so far, little-endian, with one more.
    mutating func append(_ byte: UInt8) {
        mark = mark >> 8 | count << 56
        count = count >> 8 | UInt64(byte) << 56
    }
}
