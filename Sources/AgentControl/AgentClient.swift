internal import EventLoop
internal import Posix
internal import Sockets

/// Asks a running agent. Blocks until the answer is there.
package struct AgentClient: Sendable {
    private static let patience: UInt64 = 10_000_000_000

    private let path: String

    /// Prepares to ask the agent at `path`.
    package init(path: String) {
        self.path = path
    }

    /// The finished text.
    ///
    /// - Throws: ``AgentControlError``: the agent cannot be reached, or says why it has no answer.
    package func ask(_ question: Question) throws(AgentControlError) -> String {
        var answer: Answer?
        do {
            answer = try Answer(exchange(question.line))
        } catch {
            throw unreachable(error)
        }
        switch answer {
        case .text(let text): return text
        case .problem(let why): throw AgentControlError("the agent at \(path) says: \(why)")
        case nil:
            throw AgentControlError("the agent at \(path) did not answer, or not to the end")
        }
    }

    private func exchange(_ line: String) throws(SystemError) -> [UInt8] {
        var dial = try Socket.dialUnix(path)
        guard let socket = dial.takeSocket() else { return [] }
        let question = Array((line + "\n").utf8)
        // So few bytes fit. If they are refused, the other end has an answer, or is gone: reading tells.
        _ = try? socket.write(question.span)
        let deadline = Loop.nanoseconds + Self.patience
        var answer: [UInt8] = []
        while Loop.nanoseconds < deadline {
            var awaited = [AwaitedSocket(socket)]
            let rest = (deadline &- min(deadline, Loop.nanoseconds)) / 1_000_000
            AwaitedSocket.wait(for: &awaited, atMost: Int32(rest + 1))
            do {
                guard awaited[0].isReady, let bytes = try socket.read(atMost: 65_536) else {
                    continue
                }
                if bytes.isEmpty { return answer }
                answer += bytes
            } catch  where error.isConnectionLost {
                // An agent that refuses does not read the question, and its end is then a reset.
                return answer
            }
        }
        return []
    }

    private func unreachable(_ error: SystemError) -> AgentControlError {
        if error.isPermissionDenied {
            return AgentControlError(
                "\(path) belongs to another user (\(SystemError.text(of: error.code))): ask as root"
            )
        }
        guard [nil, .socket].contains(SystemFiles.kind(at: path)) else {
            return AgentControlError(
                "\(path) is not a socket; expected the agent's: pass it with --control")
        }
        guard error.isMissing || error.isRefused else {
            return AgentControlError("the agent at \(path) did not answer: \(error)")
        }
        let asRoot =
            ThisProcess.userID == 0 ? "" : " If root runs it, ask as root: its socket is elsewhere."
        return AgentControlError(
            "no agent answers at \(path) (\(SystemError.text(of: error.code))). Is twinport-agent running? "
                + "One that has its socket elsewhere is asked with --control PATH; one that could not make it "
                + "says so in its log.\(asRoot)")
    }
}
