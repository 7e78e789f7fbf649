import Control
import Glibc

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
    func ports(_ reply: @escaping @Sendable ([PortReport]) -> Void) { reply([]) }
    func flows(_ reply: @escaping @Sendable ([FlowReport]) -> Void) { reply([]) }
}

/// Sends everything, says that this was all, and reads to the end.
private func exchange(_ path: String, _ bytes: [UInt8]) -> [UInt8] {
    let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    require(raw >= 0, "socket: \(errno)")
    defer { close(raw) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    require(status == 0, "connect: \(errno)")
    var sent = 0
    while sent < bytes.count {
        let count = bytes[sent...].withUnsafeBytes {
            send(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        // It may close before it has read everything.
        if count <= 0 { break }
        sent += count
    }
    shutdown(raw, Int32(SHUT_WR))
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = recv(raw, &chunk, chunk.count, 0)
        if count <= 0 { return answer }
        answer += chunk[..<count]
    }
}
