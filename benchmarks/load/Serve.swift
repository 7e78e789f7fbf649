internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

// # The server
//
// One port, TCP and UDP. The first byte of a connection says what it is to be:
//
//     E  everything after it is echoed
//     D  everything after it is counted and dropped; at FIN the count goes back (u64, little-endian), then FIN
//     G  the same, and until then bytes are sent as fast as they are taken
//
// A datagram's first byte: E, it is echoed; D, with a run number (u32): it is counted; Q, with a run number: the
// counts of datagrams and bytes of that run go back.

/// `twinport-load serve`.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serve the other commands until the end.")

    @Option(help: "The IPv4 address to listen on.") var address = "127.0.0.1"
    @Option(help: "The TCP and UDP port to listen on.") var port: UInt16

    func run() throws {
        let endpoint = try parseEndpoint(address, port)
        let loop = try Loop()
        let server = try Server(loop: loop, endpoint: endpoint)
        let datagrams = try DatagramServer(loop: loop, endpoint: endpoint)
        printLine("ready")
        withExtendedLifetime((server, datagrams)) { loop.run() }
    }
}

/// Accepts connections and keeps them alive.
final class Server {
    private let loop: Loop
    private let listener: Socket
    private var poller: Poller?
    private var connections: [ObjectIdentifier: ServedConnection] = [:]
    /// One buffer serves all connections: each is read and answered at once.
    let scratch = IOBuffer(capacity: BulkLoad.chunk)
    let supply = IOBuffer.filled(BulkLoad.chunk)

    init(loop: Loop, endpoint: Endpoint) throws {
        self.loop = loop
        listener = try Socket.boundTCP(to: endpoint, isV6Only: true)
        try listener.listenForConnections()
        poller = try Poller(loop: loop, descriptor: listener.descriptor) { [unowned self] _ in
            accept()
        }
        poller?.watch(.readable)
    }

    private func accept() {
        do {
            while let socket = try listener.accept() {
                let connection = ServedConnection(
                    Connection(loop: loop, socket: socket), server: self)
                try connection.start()
                connections[ObjectIdentifier(connection)] = connection
            }
        } catch {
            Console.complain("twinport-load: accept: \(error)")
        }
    }

    func remove(_ connection: ServedConnection) {
        connections[ObjectIdentifier(connection)] = nil
    }
}

/// One connection of the server.
final class ServedConnection {
    private enum Mode: UInt8 {
        case echo = 0x45
        case discard = 0x44
        case generate = 0x47
    }

    private let connection: Connection
    private unowned let server: Server
    private var mode: Mode?
    private var received: UInt64 = 0
    private var isEnded = false
    /// What an echo could not send yet, or the count at the end.
    private var waiting: IOBuffer?

    init(_ connection: Connection, server: Server) {
        self.connection = connection
        self.server = server
    }

    func start() throws {
        try connection.start(.readable) { [unowned self] events in
            do {
                try ready(events)
            } catch {
                close()
            }
        }
    }

    private func ready(_ events: Poller.Events) throws {
        if events.contains(.failed) { return close() }
        if events.contains(.readable) { try readable() }
        if events.contains(.writable) { try writable() }
    }

    private func readable() throws {
        // While an echo waits for room, its client waits too.
        guard mode != .echo || waiting == nil else { return watch() }
        let scratch = server.scratch
        scratch.clear()
        guard let count = try connection.read(into: scratch) else { return }
        if count == 0 { return try ended() }
        if mode == nil {
            mode = scratch.withReadable { Mode(rawValue: $0[0]) }
            guard mode != nil else { return close() }
            scratch.consume(1)
        }
        received += UInt64(scratch.count)
        if mode == .echo, try !connection.write(all: scratch) { hold(scratch) }
        watch()
    }

    private func hold(_ rest: IOBuffer) {
        let buffer = IOBuffer(capacity: rest.count)
        rest.withReadable { buffer.append($0) }
        waiting = buffer
    }

    private func writable() throws {
        if let waiting {
            guard try connection.write(all: waiting) else { return }
            self.waiting = nil
            if isEnded { return finish() }
        } else if mode == .generate, !isEnded {
            try generate()
        }
        watch()
    }

    private func generate() throws {
        for _ in 0..<4 {
            let supply = server.supply
            let size = supply.count
            let written = try supply.withReadable { (bytes) throws(SystemError) in
                try connection.write(bytes)
            }
            guard let written, written == size else { return }
        }
    }

    /// The client sent FIN.
    private func ended() throws {
        isEnded = true
        guard mode == .discard || mode == .generate else { return finish() }
        let ending = IOBuffer(capacity: TransferEnd.size)
        ending.append(TransferEnd.mark)
        ending.append(received)
        waiting = ending
        try writable()
    }

    private func finish() {
        connection.finish()
        close()
    }

    private func watch() {
        guard connection.isOpen else { return }
        var interest: Poller.Events = []
        if !isEnded, waiting == nil { interest.insert(.readable) }
        if waiting != nil || (mode == .generate && !isEnded) { interest.insert(.writable) }
        connection.watch(interest)
    }

    private func close() {
        connection.close()
        server.remove(self)
    }
}

/// Answers and counts datagrams.
final class DatagramServer {
    private let socket: Socket
    private var poller: Poller?
    private let batch = DatagramBatch()
    private var counts: [UInt32: (datagrams: UInt64, bytes: UInt64)] = [:]

    init(loop: Loop, endpoint: Endpoint) throws {
        socket = try Socket.boundUDP(to: endpoint, isV6Only: true) { _ in }
        poller = try Poller(loop: loop, descriptor: socket.descriptor) { [unowned self] events in
            if events.contains(.failed) {
                _ = socket.takeError("recv")
                poller?.watch(.readable)
            }
            receive()
        }
        poller?.watch(.readable)
    }

    private func receive() {
        // An ICMP error of an answer: its client is gone.
        guard let count = try? batch.receive(from: socket) else { return }
        for index in 0..<count {
            guard let sender = batch.sender(index) else { continue }
            batch.withPayload(index) { handle($0, from: sender) }
        }
    }

    private func handle(_ datagram: Span<UInt8>, from sender: Endpoint) {
        guard datagram.count > 0 else { return }
        switch datagram[0] {
        case DatagramKind.echo:
            // What the kernel does not take is lost, as datagrams are.
            _ = try? socket.sendDatagram(datagram, to: sender, from: nil)
        case DatagramKind.discard:
            guard let run: UInt32 = datagram.number(at: 1) else { return }
            counts[run, default: (0, 0)].datagrams += 1
            counts[run, default: (0, 0)].bytes += UInt64(datagram.count)
        case DatagramKind.query:
            guard let run: UInt32 = datagram.number(at: 1) else { return }
            let count = counts[run] ?? (0, 0)
            let answer = IOBuffer(capacity: 21)
            answer.append(DatagramKind.query)
            answer.append(run)
            answer.append(count.datagrams)
            answer.append(count.bytes)
            _ = answer.withReadable { try? socket.sendDatagram($0, to: sender, from: nil) }
        default: break
        }
    }
}

/// What a datagram's first byte says.
enum DatagramKind {
    static let echo: UInt8 = 0x45
    static let discard: UInt8 = 0x44
    static let query: UInt8 = 0x51
}

extension Span where Element == UInt8 {
    /// The little-endian integer at `offset`, nil past the end.
    func number<Integer: FixedWidthInteger>(at offset: Int) -> Integer? {
        let size = MemoryLayout<Integer>.size
        guard count >= offset + size else { return nil }
        var value: Integer = 0
        for index in (0..<size).reversed() { value = value << 8 | Integer(self[offset + index]) }
        return value
    }
}
