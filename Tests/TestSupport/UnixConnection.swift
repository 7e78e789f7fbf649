import Glibc

/// A blocking connection to a Unix socket, that does with it what well-behaved clients never do.
public final class UnixConnection {
    /// It could not be had; the error is errno's.
    public struct Failure: Error {
        /// What was called.
        public let call: String
        /// Why it failed.
        public let code: Int32
    }

    private let raw: Int32

    /// Connects to `path`, which must fit a socket's address.
    public init(_ path: String) throws(Failure) {
        raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard raw >= 0 else { throw Failure(call: "socket", code: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw Failure(call: "connect", code: errno) }
    }

    deinit { close(raw) }

    /// Sends everything, and unless told otherwise says that this was all.
    public func say(_ bytes: [UInt8], isAll: Bool = true) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            // The other end may close before it has read everything.
            if count <= 0 { break }
            sent += count
        }
        if isAll { shutdown(raw, Int32(SHUT_WR)) }
    }

    /// Reads to the end, or to the reset.
    public func readToEnd() -> [UInt8] {
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(raw, &chunk, chunk.count, 0)
            if count <= 0 { return answer }
            answer += chunk[..<count]
        }
    }

    /// Whether the other end has neither closed nor said anything.
    public var isOpen: Bool {
        var byte: UInt8 = 0
        return recv(raw, &byte, 1, Int32(MSG_DONTWAIT)) < 0 && errno == EAGAIN
    }
}
