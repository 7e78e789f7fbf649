internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load udp-echo`.
struct DatagramEchoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "udp-echo", abstract: "Send a datagram, wait for it to come back, again.")

    @OptionGroup var target: TargetOptions
    @Option(help: "Bytes of a datagram.") var size = 64

    func run() throws {
        let load = try DatagramEchoLoad(
            endpoint: target.endpoint(), size: size,
            milliseconds: UInt64(target.seconds * 1_000))
        finish { try load.run() }
    }
}

/// Round trips of datagrams; one that does not come back within 200 ms is lost.
final class DatagramEchoLoad {
    private let loop: Loop
    private let socket: Socket
    private var poller: Poller?
    private var timer: Timer?
    private var lossTimer: Timer?
    private let batch = DatagramBatch()
    private let milliseconds: UInt64
    private let size: Int
    private var sequence: UInt32 = 0
    private var sentAt: UInt64 = 0
    private var latencies = Latencies()
    private var lost = 0
    private var damaged = 0
    private var failure: String?

    init(endpoint: Endpoint, size: Int, milliseconds: UInt64) throws {
        // Before the loop, which must be run to its end once it is there.
        socket = try .datagrams(to: endpoint)
        loop = try Loop()
        self.milliseconds = milliseconds
        self.size = max(5, size)
        poller = try Poller(loop: loop, descriptor: socket.descriptor) { [unowned self] _ in
            receive()
        }
        timer = try Timer(loop: loop) { [unowned self] in close() }
        lossTimer = try Timer(loop: loop) { [unowned self] in
            lost += 1
            send()
        }
    }

    func run() throws -> [String: Figure] {
        let began = Loop.nanoseconds
        poller?.watch(.readable)
        timer?.start(after: milliseconds)
        send()
        loop.run()
        if let failure { throw LoadFailure(description: failure) }
        var figures = latencies.figures(over: Double(Loop.nanoseconds - began) / 1e9)
        figures["lost"] = .number(Double(lost))
        figures["damaged"] = .number(Double(damaged))
        return figures
    }

    private func send() {
        sequence &+= 1
        let datagram = IOBuffer(capacity: size)
        datagram.append(DatagramKind.echo)
        datagram.append(sequence)
        while datagram.count < size { datagram.append(UInt8(truncatingIfNeeded: datagram.count)) }
        sentAt = Loop.nanoseconds
        do {
            _ = try datagram.withReadable { (bytes) throws(SystemError) in
                try socket.sendDatagram(bytes)
            }
        } catch {
            failure = "\(error)"
            return close()
        }
        lossTimer?.start(after: 200)
    }

    private func receive() {
        // An ICMP error: the datagram is lost, the timer says so.
        guard let count = try? batch.receive(from: socket) else { return }
        for index in 0..<count {
            let isAnswer = batch.withPayload(index) { check($0) }
            guard isAnswer else { continue }
            latencies.record(since: sentAt)
            send()
        }
    }

    private func check(_ datagram: Span<UInt8>) -> Bool {
        // A late answer to one that counted as lost.
        guard datagram.number(at: 1) == sequence else { return false }
        if datagram.count != size || datagram[size - 1] != lastByte { damaged += 1 }
        return true
    }

    private var lastByte: UInt8 {
        size > 5
            ? UInt8(truncatingIfNeeded: size - 1) : UInt8(truncatingIfNeeded: sequence >> 24)
    }

    private func close() {
        poller?.close()
        timer?.close()
        lossTimer?.close()
    }
}

/// `twinport-load udp-flood`.
struct DatagramFloodCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "udp-flood",
        abstract: "Send datagrams one way, then ask how many arrived.")

    @OptionGroup var target: TargetOptions
    @Option(help: "Bytes of a datagram.") var size = 1_400
    @Option(help: "Datagrams a second; 0 for as many as the kernel takes.") var rate = 0

    func run() throws {
        let load = try DatagramFloodLoad(
            endpoint: target.endpoint(), size: size, rate: rate,
            milliseconds: UInt64(target.seconds * 1_000))
        finish { try load.run() }
    }
}

/// Datagrams one way. Paced in steps of a millisecond.
final class DatagramFloodLoad {
    private static let burst = 32

    private let loop: Loop
    private let socket: Socket
    private var poller: Poller?
    private var timer: Timer?
    private var askTimer: Timer?
    private let batch = DatagramBatch()
    private let datagram: IOBuffer
    private let runNumber = UInt32.random(in: 1 ... .max)
    private let rate: Int
    private let milliseconds: UInt64
    private var began: UInt64 = 0
    private var seconds = 0.0
    private var sent = 0
    private var questions = 0
    private var answer: (datagrams: UInt64, bytes: UInt64)?

    init(endpoint: Endpoint, size: Int, rate: Int, milliseconds: UInt64) throws {
        socket = try .datagrams(to: endpoint)
        loop = try Loop()
        self.rate = rate
        self.milliseconds = milliseconds
        datagram = IOBuffer(capacity: max(5, size))
        datagram.append(DatagramKind.discard)
        datagram.append(runNumber)
        while datagram.space > 0 { datagram.append(UInt8(0x55)) }
        poller = try Poller(loop: loop, descriptor: socket.descriptor) { [unowned self] events in
            ready(events)
        }
        timer = try Timer(loop: loop) { [unowned self] in tick() }
        askTimer = try Timer(loop: loop) { [unowned self] in ask() }
    }

    func run() throws -> [String: Figure] {
        began = Loop.nanoseconds
        if rate == 0 { poller?.watch(.writable) }
        timer?.start(after: rate == 0 ? milliseconds : 1, every: rate == 0 ? 0 : 1)
        loop.run()
        guard let answer else { throw LoadFailure(description: "no answer about the count") }
        return [
            "sent": .number(Double(sent)), "sent_rate": .number(Double(sent) / seconds),
            "delivered": .number(Double(answer.datagrams)),
            "rate": .number(Double(answer.datagrams) / seconds),
            "gbps": .number(Double(answer.bytes) * 8 / seconds / 1e9),
            "loss": .number(sent == 0 ? 0 : 1 - Double(answer.datagrams) / Double(sent)),
        ]
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.writable) { send(Self.burst) }
        if events.contains(.readable) { receive() }
        if events.contains(.failed) { poller?.watch(questions > 0 ? .readable : .writable) }
    }

    private func send(_ count: Int) {
        for _ in 0..<count {
            let isSent = datagram.withReadable { (try? socket.sendDatagram($0)) ?? false }
            guard isSent else { return }
            sent += 1
        }
    }

    private func tick() {
        let elapsed = Loop.nanoseconds - began
        if rate > 0, elapsed < milliseconds * 1_000_000 {
            let due = Int(Double(elapsed) / 1e9 * Double(rate))
            return send(max(0, due - sent))
        }
        seconds = Double(elapsed) / 1e9
        timer?.close()
        // What is under way may take a moment.
        poller?.watch(.readable)
        askTimer?.start(after: 300, every: 200)
    }

    private func ask() {
        questions += 1
        guard questions <= 20 else { return close() }
        let question = IOBuffer(capacity: 5)
        question.append(DatagramKind.query)
        question.append(runNumber)
        _ = question.withReadable { try? socket.sendDatagram($0) }
    }

    private func receive() {
        guard let count = try? batch.receive(from: socket) else { return }
        for index in 0..<count {
            batch.withPayload(index) { bytes in
                guard bytes.count == 21, bytes[0] == DatagramKind.query,
                    bytes.number(at: 1) == runNumber, let datagrams: UInt64 = bytes.number(at: 5),
                    let size: UInt64 = bytes.number(at: 13)
                else { return }
                answer = (datagrams, size)
            }
        }
        if answer != nil { close() }
    }

    private func close() {
        poller?.close()
        timer?.close()
        askTimer?.close()
    }
}

extension Socket {
    /// Connected to `endpoint`, from whichever of the machine's addresses leads there.
    fileprivate static func datagrams(to endpoint: Endpoint) throws(SystemError) -> Socket {
        try pairedUDP(Endpoint(.anyV4, 0), endpoint, interface: 0) { _ in }
    }
}
