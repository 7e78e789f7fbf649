import Control
import Glibc
import Reports
import TestSupport
import TwinportModel

// The control API, whole: bytes on its Unix socket, answers read to the end. One connection per input, which
// makes it the slowest of the fuzzers by far.
//
// Found wrong: a crash; an answer that is neither HTTP nor nothing; a server that does not answer a proper
// request any more.

func makeControlTarget() -> FuzzTarget {
    let path = socketPath()
    atexit {
        unlink(socketPath())
        rmdir(folder())
    }
    let server: ControlServer
    do {
        server = try ControlServer(path: path, backend: Backend())
    } catch {
        fatalError("\(error)")
    }
    var count = 0
    return { input in
        defer { withExtendedLifetime(server) {} }
        let answer = exchange(path, input)
        require(
            answer.isEmpty || answer.starts(with: Array("HTTP/1.1 ".utf8)),
            String(decoding: answer, as: UTF8.self))
        count += 1
        if count % 1_000 == 0 {
            let proper = exchange(
                path, Array("GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n".utf8))
            require(
                proper.starts(with: Array("HTTP/1.1 200".utf8)),
                String(decoding: proper, as: UTF8.self))
        }
    }
}

private func folder() -> String { "/tmp/twinport-fuzz-\(getpid())" }

private func socketPath() -> String { "\(folder())/control.sock" }

private struct Backend: ControlBackend {
    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) { reply(StatusReport()) }
    func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void) { reply([]) }
    func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void) { reply([]) }
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void) {
        reply(MetricsReport(status: StatusReport(), ports: []))
    }
    var events: any EventSource { Nothing() }
}

private final class Nothing: EventSource {
    var newest: UInt64 { 0 }
    func events(after number: UInt64, most: Int) -> [HelperEvent] { [] }
    func wake(after number: UInt64, _ wake: @escaping @Sendable () -> Void) {}
}

/// Sends everything, says that this was all, and reads to the end.
private func exchange(_ path: String, _ bytes: [UInt8]) -> [UInt8] {
    do {
        let connection = try UnixConnection(path)
        connection.say(bytes)
        return connection.readToEnd()
    } catch {
        fatalError("\(error)")
    }
}
