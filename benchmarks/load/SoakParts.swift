internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Bytes of which each says where in its stream it belongs: a block of 65,521 (a prime, so that it never lines up
/// with a buffer), over and over, begun at a place of the stream's own.
final class Pattern {
    static let period = 65_521
    private let block: [UInt8]

    init() {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        var bytes: [UInt8] = []
        bytes.reserveCapacity(2 * Self.period)
        for _ in 0..<Self.period {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            bytes.append(UInt8(truncatingIfNeeded: state >> 56))
        }
        block = bytes + bytes
    }

    /// Calls `body` with at most a period of the stream's bytes from `offset` on.
    func with<Result, Failure: Error>(
        seed: Int, offset: Int, limit: Int, _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = (seed + offset) % Self.period
        let block = self.block
        let span = block.span
        return try body(span.extracting(start..<start + min(limit, Self.period)))
    }

    /// Whether `bytes` are what the stream has at `offset`.
    func matches(_ bytes: Span<UInt8>, seed: Int, offset: Int) -> Bool {
        let bytesOfBlock = self.block
        let block = bytesOfBlock.span
        var index = 0
        while index < bytes.count {
            let start = (seed + offset + index) % Self.period
            let count = min(bytes.count - index, Self.period)
            for step in 0..<count where bytes[index + step] != block[start + step] { return false }
            index += count
        }
        return true
    }
}

/// What a soak counts, and how it fails.
final class SoakLedger {
    var latencies = Latencies()
    var verifiedBytes: UInt64 = 0
    var transfers = 0
    var connections = 0
    var datagramsSent = 0
    var datagramsBack = 0
    private(set) var faults: [String] = []

    func fault(_ what: String) {
        // One is enough to fail; a flood of them helps nobody.
        if faults.count < 20 { faults.append(what) }
    }
}

/// Sends a stream of a random length through an echo and checks every byte that comes back, then the end.
final class VerifiedTransfer {
    private let connection: Connection
    private let pattern: Pattern
    private let scratch: IOBuffer
    private let ledger: SoakLedger
    private let done: () -> Void
    private let length: Int
    private let seed = Int.random(in: 0..<Pattern.period)
    private var isGreeted = false
    private var sent = 0
    private var verified = 0

    init(
        loop: Loop, endpoint: Endpoint, pattern: Pattern, scratch: IOBuffer, ledger: SoakLedger,
        done: @escaping () -> Void
    ) throws {
        self.pattern = pattern
        self.scratch = scratch
        self.ledger = ledger
        self.done = done
        length = Int.random(in: 1...(32 << 20))
        connection = try Connection(loop: loop, to: endpoint)
    }

    func start() throws {
        try connection.start([.readable, .writable]) { [self] events in
            do {
                if events.contains(.failed) { return end("a transfer's connection failed") }
                if events.contains(.readable) { try readable() }
                if events.contains(.writable), connection.isOpen { try writable() }
            } catch {
                end("a transfer broke after \(verified) of \(length) bytes: \(error)")
            }
        }
    }

    private func writable() throws {
        if !isGreeted {
            let greeting: [UInt8] = [0x45]
            guard try connection.write(greeting.span) != nil else { return }
            isGreeted = true
        }
        for _ in 0..<4 where sent < length {
            let written = try pattern.with(seed: seed, offset: sent, limit: length - sent) {
                (bytes) throws(SystemError) in try connection.write(bytes)
            }
            guard let written else { return }
            sent += written
        }
        guard sent == length else { return }
        connection.finish()
        connection.watch(.readable)
    }

    private func readable() throws {
        for _ in 0..<4 {
            scratch.clear()
            guard let count = try connection.read(into: scratch) else { return }
            guard count > 0 else {
                return end(
                    verified == length ? nil : "a transfer ended at \(verified) of \(length) bytes")
            }
            let isRight = scratch.withReadable {
                verified + count <= length
                    && pattern.matches($0, seed: seed, offset: verified)
            }
            guard isRight else { return end("wrong bytes near offset \(verified)") }
            verified += count
            ledger.verifiedBytes += UInt64(count)
        }
    }

    private func end(_ fault: String?) {
        guard connection.isOpen else { return }
        connection.close(resetting: fault != nil)
        if let fault { ledger.fault(fault) } else { ledger.transfers += 1 }
        done()
    }
}

/// Sends datagrams of all sizes at a pace, checks what comes back, and takes a new source port now and then.
final class DatagramSoak {
    private static let largest = 9_000
    private static let perSocket = 500

    private let loop: Loop
    private let endpoint: Endpoint
    private let pattern: Pattern
    private let ledger: SoakLedger
    private let batch = DatagramBatch()
    private var ports: [DatagramPort] = []
    private var sentHere = 0

    init(loop: Loop, endpoint: Endpoint, pattern: Pattern, ledger: SoakLedger) throws {
        self.loop = loop
        self.endpoint = endpoint
        self.pattern = pattern
        self.ledger = ledger
        try renew()
    }

    private func renew() throws {
        sentHere = 0
        // The one before stays for answers under way.
        if ports.count > 1 { ports.removeFirst().close() }
        ports.append(
            try DatagramPort(loop: loop, endpoint: endpoint) { [unowned self] in receive($0) })
    }

    func send() {
        do {
            if sentHere >= Self.perSocket { try renew() }
            sentHere += 1
            let size = Int.random(in: 5...Self.largest)
            let seed = UInt32.random(in: 0 ... .max)
            let datagram = IOBuffer(capacity: size)
            datagram.append(DatagramKind.echo)
            datagram.append(seed)
            pattern.with(seed: Int(seed), offset: 0, limit: size - 5) { datagram.append($0) }
            let socket = ports[ports.count - 1]
            if try socket.send(datagram) { ledger.datagramsSent += 1 }
        } catch {
            ledger.fault("sending a datagram: \(error)")
        }
    }

    private func receive(_ socket: borrowing Socket) {
        // An ICMP error: that datagram counts as lost.
        guard let count = try? batch.receive(from: socket) else { return }
        for index in 0..<count {
            let isRight = batch.withPayload(index) { bytes -> Bool in
                guard let seed: UInt32 = bytes.number(at: 1) else { return false }
                return pattern.matches(
                    bytes.extracting(5..<bytes.count), seed: Int(seed), offset: 0)
            }
            if isRight { ledger.datagramsBack += 1 } else { ledger.fault("a damaged datagram") }
        }
    }

    func close() {
        for port in ports { port.close() }
    }
}

/// One source port of a datagram soak.
final class DatagramPort {
    private var socket: Socket?
    private var poller: Poller?

    init(
        loop: Loop, endpoint: Endpoint, received: @escaping (borrowing Socket) -> Void
    ) throws {
        let socket = try Socket.dialUDP(endpoint) { _ in }
        let descriptor = socket.descriptor
        self.socket = consume socket
        poller = try Poller(loop: loop, descriptor: descriptor) { [unowned self] _ in
            if self.socket != nil { received(self.socket!) }
            poller?.watch(.readable)
        }
        poller?.watch(.readable)
    }

    func send(_ datagram: IOBuffer) throws(SystemError) -> Bool {
        try datagram.withReadable { (bytes) throws(SystemError) in
            try socket?.sendDatagram(bytes) ?? false
        }
    }

    func close() {
        poller?.close()
        socket = nil
    }
}
