internal import CKernel
internal import Glibc
internal import Posix

// # The opener
//
// Forwards come with the settings, which change while the programs are in their sandbox: where sockets can be made in a
// few folders only, no file can be given to another user, and other users' sockets cannot be reached. What forwards need
// of that is done by a child that is split off before:
//
//     twinport host, twinport-agent ──request──▶ twinport-opener     makes, dials and removes Unix sockets, at any path,
//         (Landlock)  ◀──answer, descriptor──  (one thread)          for any user; opens nothing for writing, runs nothing
//
// It meets no byte of the peer's but the paths and users that a host asks its agent for, which the agent checks first. A
// path that blocks (a network file system) keeps forwards waiting, and nothing else. When its pipe ends, however its parent
// did, it removes the sockets that it made, and ends.

// Each guest of a host asks on a thread of its own, through a channel of its own. The channel's far end travels to the opener
// on the first pipe, and nothing waits for its arrival: questions stay in the channel until the opener has taken it over, which
// may be long when a path blocks it.

/// The process that makes the sockets of forwards, as its parent sees it. Nothing blocks but ``stop()``.
package final class OpenerProcess: Sendable {
    /// The parent's own, and one for each guest.
    private static let mostChannels = 65

    private let pipe: PacketPipe

    init(_ pipe: PacketPipe) {
        self.pipe = pipe
    }

    /// Starts it. Call it while there is one thread, and before anything is given up.
    ///
    /// - Returns: Nil when the kernel refuses: forwards with Unix sockets then have what the sandbox leaves.
    package static func start() -> OpenerProcess? {
        switch ThisProcess.splitOff("twinport-opener") {
        case .parent(let pipe): return OpenerProcess(pipe)
        case .child(let pipe):
            ckernel_outlive_parent()
            _ = umask(0)
            Sandbox.enterAsOpener()
            serve(pipe)
            ThisProcess.end(0)
        case nil: return nil
        }
    }

    /// Answers until the parent is gone. What the opener does; in a thread of a test, too.
    static func serve(_ first: PacketPipe) {
        var channels = [Channel(pipe: first)]
        while true {
            var opened: [Channel] = []
            // The parent's own comes last, and those that end are taken out on the way.
            for index in PacketPipe.awaitAny(channels.map(\.pipe)).reversed() {
                if channels[index].serve(room: mostChannels - channels.count, &opened) { continue }
                channels[index].worker.removeAll()
                if index > 0 { channels.remove(at: index) } else { return removeAll(channels) }
            }
            channels += opened
        }
    }

    private static func removeAll(_ channels: [Channel]) {
        for channel in channels {
            var worker = channel.worker
            worker.removeAll()
        }
    }

    /// A pipe to the opener, and what was made through it.
    private struct Channel {
        let pipe: PacketPipe
        var worker = SocketWorker()

        /// Answers one request; a channel that is handed over gets no answer.
        ///
        /// - Returns: False when the other end is gone.
        mutating func serve(room: Int, _ opened: inout [Channel]) -> Bool {
            let (bytes, descriptor, error) = OpenerProcess.take(from: pipe)
            if error == EAGAIN || error == EINTR { return true }
            let passed = descriptor < 0 ? nil : PacketPipe(OwnedFD(taking: descriptor))
            guard let request = SocketRequest(bytes) else { return false }
            if request == .channel {
                // Without room its other end sees that it has ended.
                if let passed, room > opened.count { opened.append(Channel(pipe: passed)) }
                return true
            }
            let reply = worker.perform(request)
            // The other side has the socket then.
            defer { reply.socket = nil }
            return send(reply, reply.socket?.descriptor ?? -1)
        }

        private func send(_ reply: SocketReply, _ descriptor: Int32) -> Bool {
            OpenerProcess.send(reply.bytes, descriptor, to: pipe)
        }
    }

    /// Another way to the same process, for one node of several: each asks on a thread of its own. Does not wait for the
    /// process.
    ///
    /// - Returns: One that has ended when the process is gone, when this one has no descriptor left, or when so many
    ///   questions wait in the pipe that nothing fits into it; and one that ends soon when the process has too many. The
    ///   node then makes no sockets for as long as it lives, and its forwards say that the opener ended: without an opener
    ///   it would do so itself, where its sandbox is in the way.
    package func channel() -> OpenerProcess {
        // The kernel's buffer has room for all channels that may be: 212,992 bytes, and a message takes about a thousand.
        guard let (own, far) = PacketPipe.pair() else { return Self.ended }
        let isSent = withExtendedLifetime(far) {
            Self.send(SocketRequest.channel.bytes, far.raw, to: pipe, waits: false)
        }
        return isSent ? OpenerProcess(own) : Self.ended
    }

    /// One at whose other end nobody is. Without a descriptor for that, a node cannot be made with it.
    static var ended: OpenerProcess {
        OpenerProcess(PacketPipe.pair()?.0 ?? PacketPipe(OwnedFD(taking: -1)))
    }

    /// For a `Poller`.
    package var descriptor: Int32 { pipe.raw }

    /// Asks. Answers come in the order of the questions.
    ///
    /// - Returns: False when it is gone.
    package func send(_ request: SocketRequest) -> Bool { Self.send(request.bytes, -1, to: pipe) }

    /// Sends a message, with a descriptor unless that is negative.
    ///
    /// - Parameter waits: Whether it waits for room.
    private static func send(
        _ bytes: [UInt8], _ descriptor: Int32, to pipe: PacketPipe, waits: Bool = true
    ) -> Bool {
        let flags = waits ? 0 : Int32(MSG_DONTWAIT)
        return unsafe ckernel_send_with_descriptor(
            pipe.raw, bytes, bytes.count, descriptor, flags) == bytes.count
    }

    /// What came.
    package enum Received {
        /// An answer.
        case reply(SocketReply)
        /// None yet.
        case nothing
        /// It is gone.
        case ended
    }

    /// Takes the next answer.
    package func receive() -> Received {
        let (bytes, descriptor, error) = Self.take(from: pipe)
        if error == EAGAIN || error == EINTR { return .nothing }
        guard !bytes.isEmpty, let reply = SocketReply(bytes, descriptor: descriptor) else {
            return .ended
        }
        return .reply(reply)
    }

    /// A message, and the descriptor that came with it, or -1; without one the errno.
    private static func take(
        from pipe: PacketPipe
    ) -> (bytes: [UInt8], descriptor: Int32, error: Int32) {
        var bytes = [UInt8](repeating: 0, count: SocketRequest.longest)
        var descriptor: Int32 = -1
        let count = unsafe ckernel_receive_with_descriptor(
            pipe.raw, &bytes, bytes.count, &descriptor)
        if count < 0 { return ([], -1, errno) }
        return (Array(bytes[..<count]), descriptor, 0)
    }

    /// Ends it, and waits a moment until it has removed what it made.
    package func stop() {
        guard shutdown(pipe.raw, Int32(SHUT_WR)) == 0 else { return }
        for _ in 0..<64 {
            if case .packet = pipe.receive(limit: SocketRequest.longest, within: 1_000) { continue }
            break
        }
        ThisProcess.forgetEndedChildren()
    }
}
