internal import EventLoop
internal import Noise
internal import Posix
internal import Sockets
internal import TwinportModel
internal import Wire

// # Where connections to a tunnel with a key wait
//
// A connection costs anybody nothing, and a session costs us buffers and a key agreement. So a connection gets a
// session only after its first message has come, and was made with the key:
//
//     accept → first message here, made with the key?  yes → session    no → closed    not here yet → a seat
//
// There are 64 seats. When all are taken, the address that has most of them gives up its oldest. So silent
// connections, however many and fast, cost no session its place: as a rule the message of a program with the key is
// there when its connection is accepted (TCP_DEFER_ACCEPT sees to that over TCP), and it takes no seat at all.

/// Connections whose first message is awaited. Loop thread only.
final class Lobby {
    /// How many connections wait at most.
    static let seats = 64
    private static let patience: UInt64 = 5_000
    private static let messageLength = 2 + HandshakeState.messageLength

    /// A connection that has not shown yet that it knows the key.
    private final class Caller {
        var socket: Socket?
        var poller: Poller?
        let bytes = IOBuffer(capacity: Lobby.messageLength)
        let since: UInt64
        let address: IPAddress?

        init(_ socket: consuming Socket, since: UInt64, address: IPAddress?) {
            self.since = since
            self.address = address
            self.socket = consume socket
        }

        /// Reads what is there of the first message, and not a byte further.
        ///
        /// - Returns: Whether more may come.
        func read() -> Bool {
            while bytes.space > 0 {
                guard socket != nil else { return false }
                do {
                    guard let count = try socket!.read(into: bytes) else { return true }
                    if count == 0 { return false }
                } catch {
                    return false
                }
            }
            return true
        }

        func close() {
            poller?.close()
            poller = nil
            socket = nil
        }
    }

    private let loop: Loop
    private let isEncrypted: Bool
    private let check: FirstMessageCheck
    private let admitted: (consuming Socket, [UInt8]) -> Void
    private let refused: (SessionEnd) -> Void
    private var waiting: [Caller] = []
    private var seen = RecentMessages()

    /// - Parameters:
    ///   - isEncrypted: Whether what follows is encrypted, or only a proof is wanted.
    ///   - admitted: Takes a connection, and its first message, which was made with the key.
    ///   - refused: Told why a connection was closed.
    init(
        loop: Loop, key: TunnelKey, isEncrypted: Bool,
        admitted: @escaping (consuming Socket, [UInt8]) -> Void,
        refused: @escaping (SessionEnd) -> Void
    ) {
        self.loop = loop
        self.isEncrypted = isEncrypted
        self.admitted = admitted
        self.refused = refused
        check = FirstMessageCheck(
            key: key, prologue: isEncrypted ? NoiseLink.prologue : ProofLink.prologue)
    }

    /// A connection came.
    func enter(_ socket: consuming Socket) {
        let address = isEncrypted ? (try? socket.peerEndpoint())?.address : nil
        let caller = Caller(socket, since: loop.now, address: address)
        if !look(at: caller) { sit(caller) }
    }

    /// Reads, and decides if it can.
    ///
    /// - Returns: Whether the caller is done with: it went on, or was closed.
    private func look(at caller: Caller) -> Bool {
        let mayCome = caller.read()
        let verdict = caller.bytes.withReadable { FirstBytes($0, length: Self.messageLength) }
        switch verdict {
        case .incomplete:
            if mayCome { return false }
            caller.close()
        case .frames:
            turnAway(caller, .noProof)
        case .record(let bytes):
            caller.poller?.close()
            caller.poller = nil
            guard check.accepts(bytes.dropFirst(2)), seen.isNew(bytes) else {
                turnAway(caller, .otherKey)
                break
            }
            if let socket = caller.socket.take() { admitted(socket, bytes) }
        }
        return true
    }

    private func sit(_ caller: Caller) {
        if waiting.count >= Self.seats { makeRoom() }
        guard let descriptor = caller.socket?.descriptor else { return }
        caller.poller = try? Poller(loop: loop, descriptor: descriptor) {
            [unowned self, unowned caller] _ in ready(caller)
        }
        caller.poller?.watch(.readable)
        waiting.append(caller)
    }

    private func ready(_ caller: Caller) {
        guard look(at: caller) else { return }
        waiting.removeAll { $0 === caller }
    }

    private func makeRoom() {
        let addresses = waiting.map(\.address)
        guard let index = Self.leastEntitled(addresses) else { return }
        waiting.remove(at: index).close()
    }

    /// Which of those that wait, the oldest first, gives up its seat: the oldest one of the address that has most.
    static func leastEntitled(_ addresses: [IPAddress?]) -> Int? {
        var counts: [IPAddress?: Int] = [:]
        for address in addresses { counts[address, default: 0] += 1 }
        let most = counts.values.max()
        return addresses.firstIndex { counts[$0] == most }
    }

    /// Says goodbye where the other end can understand it without a key.
    private func turnAway(_ caller: Caller, _ error: LinkError) {
        let end = SessionEnd(link: error)
        if !isEncrypted {
            var writer = ByteWriter()
            Frames.writeGoAway(end.code, end.reason, to: &writer)
            // A fresh socket's buffer takes it; if not, the other end just sees the connection close.
            _ = try? caller.socket?.write(writer.bytes.span)
        }
        caller.close()
        refused(end)
    }

    /// To be called every now and then.
    func tick() {
        while let first = waiting.first, loop.now &- first.since >= Self.patience {
            waiting.removeFirst().close()
            refused(SessionEnd(.timeout, SessionEnd.noGreeting))
        }
    }

    func close() {
        for caller in waiting { caller.close() }
        waiting = []
    }
}

/// The last first messages that were made with the key, so that one that was recorded on a network takes no place
/// again and again. Pure.
struct RecentMessages {
    static let remembered = 256

    private var messages: Set<[UInt8]> = []
    private var order: [[UInt8]] = []
    private var oldest = 0

    /// Whether it was not seen of late; it is remembered.
    mutating func isNew(_ message: [UInt8]) -> Bool {
        guard messages.insert(message).inserted else { return false }
        if order.count < Self.remembered {
            order.append(message)
        } else {
            messages.remove(order[oldest])
            order[oldest] = message
            oldest = (oldest + 1) % Self.remembered
        }
        return true
    }
}

/// What a connection begins with. Pure.
enum FirstBytes: Equatable {
    /// Too little to tell.
    case incomplete
    /// No record of a handshake: frames in the clear, or another protocol.
    case frames
    /// A record of the length of a handshake's message, with its header.
    case record([UInt8])

    /// - Parameter length: A message's, with its header.
    init(_ bytes: Span<UInt8>, length: Int) {
        let header = [UInt8(0), UInt8(length - 2)]
        for index in 0..<min(2, bytes.count) where bytes[index] != header[index] {
            self = .frames
            return
        }
        self = bytes.count < length ? .incomplete : .record(Array(copying: bytes))
    }
}
