internal import EventLoop
internal import Posix
internal import Sockets

/// One connection to the agent's socket: it asks one question, gets one answer and is closed. On the server's thread.
final class Visitor {
    private enum Phase {
        case asking
        case answering
        case over
    }

    /// How long it may take to ask, and to read the answer.
    private static let patience: UInt64 = 5_000_000_000

    private let socket: Socket
    private var phase = Phase.asking
    private var question: [UInt8] = []
    private var answer: [UInt8] = []
    private var sent = 0
    /// By the loop's clock, in nanoseconds.
    private(set) var deadline = Loop.nanoseconds + patience

    /// Takes a connection. Root and the agent's own user may ask; others get an error at once.
    init(_ socket: consuming Socket) {
        self.socket = socket
        // If the kernel does not tell, the peer counts as nobody (65534).
        let user = (try? self.socket.peerUser()) ?? 65_534
        if user != 0, user != ThisProcess.userID {
            answer(.problem("user \(user) may not ask: ask as root"))
        }
    }

    /// Whether the connection can be closed.
    var isOver: Bool { phase == .over }

    /// Whether its answer takes memory that is worth returning.
    var isAnswerLarge: Bool { answer.count > 65_536 }

    /// What it waits for.
    var awaited: AwaitedSocket { AwaitedSocket(socket, toWrite: phase == .answering) }

    /// Does what can be done without blocking.
    ///
    /// - Parameter reply: Answers a line.
    func proceed(_ reply: (String) -> Answer) {
        do {
            if phase == .asking { try hear(reply) }
            if phase == .answering { try say() }
        } catch {
            phase = .over
        }
    }

    private func hear(_ reply: (String) -> Answer) throws(SystemError) {
        // One byte more than fits, so that a longer line is noticed.
        guard let bytes = try socket.read(atMost: Question.longest + 2 - question.count) else {
            return
        }
        question += bytes
        let line = question.prefix { $0 != UInt8(ascii: "\n") }
        if line.count > Question.longest {
            answer(.problem("a question has \(Question.longest) bytes at most"))
        } else if line.count < question.count {
            answer(reply(String(decoding: line, as: UTF8.self)))
        } else if bytes.isEmpty {
            phase = .over
        }
    }

    private func answer(_ answer: Answer) {
        self.answer = answer.bytes
        phase = .answering
        deadline = Loop.nanoseconds + Self.patience
    }

    private func say() throws(SystemError) {
        // A span of a class's property could not leave the access.
        let bytes = answer
        while sent < bytes.count {
            guard let count = try socket.write(bytes.span.extracting(sent..<bytes.count)) else {
                return
            }
            sent += count
        }
        phase = .over
    }
}
