internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// One attempt to reach a tunnel address.
///
/// For `firecracker://` that is more than connecting: the VMM's socket wants `CONNECT PORT` and answers with
/// `OK` and a number once a program in the guest accepted; it closes the connection when none listens.
final class Connector {
    private enum Phase {
        case connecting
        case asking
        case done
        /// Another user listens there.
        case refused
    }

    private static let longestAnswer = 32

    private let uri: TunnelURI
    private let admission: Admission
    private var socket: Socket?
    private var poller: Poller?
    private var phase = Phase.connecting
    private var answer = IOBuffer(capacity: longestAnswer)
    private let finished: (LinkError?) -> Void

    /// Begins to connect; ``start()`` reports the outcome, at once or later.
    ///
    /// - Parameters:
    ///   - admission: Whose programs may listen at the address.
    ///   - finished: Told once why it failed, or nil when ``takeSocket()`` has the connection.
    /// - Throws: ``LinkError/untrusted(_:)``, ``LinkError/system(_:)``.
    init(
        loop: Loop, uri: TunnelURI, admission: Admission,
        finished: @escaping (LinkError?) -> Void
    ) throws(LinkError) {
        self.uri = uri
        self.admission = admission
        self.finished = finished
        if let why = admission.distrust(of: uri) { throw .untrusted(why) }
        var dial = try linked { () throws(SystemError) in try Self.dial(uri) }
        if dial.isConnected { phase = .done }
        socket = dial.takeSocket()
        guard let descriptor = socket?.descriptor else { return }
        poller = try linked { () throws(SystemError) in
            try Poller(loop: loop, descriptor: descriptor) { [unowned self] _ in ready() }
        }
    }

    private static func dial(_ uri: TunnelURI) throws(SystemError) -> Socket.Dial {
        switch uri {
        case .unix(let path), .firecracker(let path, _): return try Socket.dialUnix(path)
        case .vsock(let cid, let port): return try Socket.dialVsock(cid: cid ?? 2, port: port)
        case .tcp(let endpoint): return try Socket.dialTCP(endpoint)
        }
    }

    func start() {
        if phase == .done { connected() } else { poller?.watch(.writable) }
    }

    private func ready() {
        guard socket != nil else { return }
        switch phase {
        case .connecting:
            if let error = socket!.takeError("connect") { return finished(.system(error)) }
            connected()
        case .asking: readAnswer()
        case .done, .refused: break
        }
    }

    private func connected() {
        if let why = distrust() {
            // Not a byte to it.
            phase = .refused
            return finished(.untrusted(why))
        }
        guard case .firecracker(_, let port) = uri else {
            phase = .done
            return finished(nil)
        }
        do {
            let line = Array("CONNECT \(port)\n".utf8)
            // A fresh socket's buffer is empty: it takes all of so short a line.
            guard try socket?.write(line.span) == line.count else {
                return finished(.nobodyThere("\(uri)"))
            }
            phase = .asking
            poller?.watch(.readable)
        } catch {
            finished(.system(error))
        }
    }

    private func distrust() -> String? {
        guard socket != nil else { return nil }
        return admission.distrust(of: socket!, at: uri)
    }

    /// Reads up to the line's end and not a byte further: what follows is the tunnel's.
    private func readAnswer() {
        do {
            while answer.space > 0 {
                guard let count = try socket?.read(into: answer, limit: 1) else { return }
                if count == 0 { break }
                let line = answer.withReadable { bytes in
                    String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
                }
                guard line.hasSuffix("\n") else { continue }
                guard line.hasPrefix("OK ") else { break }
                phase = .done
                return finished(nil)
            }
            finished(.nobodyThere("\(uri)"))
        } catch {
            finished(.system(error))
        }
    }

    /// The connected socket, once.
    func takeSocket() -> Socket? {
        poller?.close()
        poller = nil
        return phase == .done ? socket.take() : nil
    }

    func close() {
        poller?.close()
        poller = nil
        if phase != .done { socket = nil }
    }
}
