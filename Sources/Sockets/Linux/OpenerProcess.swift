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

/// The process that makes the sockets of forwards, as its parent sees it. Nothing blocks but ``stop()``.
package final class OpenerProcess: Sendable {
    private let pipe: PacketPipe

    private init(_ pipe: PacketPipe) {
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

    /// Answers until the parent is gone.
    private static func serve(_ pipe: PacketPipe) {
        var worker = SocketWorker()
        while case .packet(let bytes) = pipe.receive(limit: SocketRequest.longest) {
            guard let request = SocketRequest(bytes) else { break }
            let reply = worker.perform(request)
            let answer = reply.bytes
            let sent = unsafe ckernel_send_with_descriptor(
                pipe.raw, answer, answer.count, reply.socket?.descriptor ?? -1)
            if sent < 0 { break }
            // The other side has it now.
            reply.socket = nil
        }
        worker.removeAll()
    }

    /// For a `Poller`.
    package var descriptor: Int32 { pipe.raw }

    /// Asks. Answers come in the order of the questions.
    ///
    /// - Returns: False when it is gone.
    package func send(_ request: SocketRequest) -> Bool {
        let bytes = request.bytes
        return unsafe ckernel_send_with_descriptor(pipe.raw, bytes, bytes.count, -1) == bytes.count
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
        var bytes = [UInt8](repeating: 0, count: SocketRequest.longest)
        var descriptor: Int32 = -1
        let count = unsafe ckernel_receive_with_descriptor(
            pipe.raw, &bytes, bytes.count, &descriptor)
        if count < 0 { return errno == EAGAIN || errno == EINTR ? .nothing : .ended }
        guard count > 0, let reply = SocketReply(Array(bytes[..<count]), descriptor: descriptor)
        else { return .ended }
        return .reply(reply)
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
