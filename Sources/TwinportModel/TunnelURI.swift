/// Where the tunnel is listened for or dialled.
public enum TunnelURI: Hashable, Sendable, CustomStringConvertible {
    /// `unix:///path.sock`.
    case unix(path: String)
    /// `vsock://CID:PORT`; nil, written `any`, when listening: every machine may call.
    case vsock(cid: UInt32?, port: UInt32)
    /// `firecracker:///path.sock?port=PORT`: a guest's vsock port as Firecracker, Cloud Hypervisor and
    /// others map it to Unix sockets. Dialled with `CONNECT PORT`, listened for at `path.sock_PORT`.
    case firecracker(path: String, port: UInt32)
    /// `tcp://ADDRESS:PORT`, encrypted.
    case tcp(Endpoint)

    /// What is wrong with a text that is not a tunnel URI, and what would be right.
    public struct Malformed: Error, Equatable, Sendable, CustomStringConvertible {
        /// In one line.
        public let description: String
    }

    /// Reads a URI.
    ///
    /// - Throws: ``Malformed``, which says what was expected.
    public init(parsing text: String) throws(Malformed) {
        let parts = Self.split(text)
        switch parts?.scheme {
        case "unix": self = try Self.unix(parts?.rest ?? "")
        case "vsock": self = try Self.vsock(parts?.rest ?? "")
        case "firecracker": self = try Self.firecracker(parts?.rest ?? "")
        case "tcp": self = try Self.tcp(parts?.rest ?? "")
        default:
            throw Malformed(
                description: "\"\(text)\" is not a tunnel address; use unix:///path.sock, "
                    + "vsock://CID:PORT, firecracker:///path.sock?port=PORT or tcp://ADDRESS:PORT")
        }
    }

    private static func split(_ text: String) -> (scheme: String, rest: String)? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].hasPrefix("//") else { return nil }
        return (String(parts[0]), String(parts[1].dropFirst(2)))
    }

    private static func unix(_ path: String) throws(Malformed) -> TunnelURI {
        try check(path, "unix://\(path)")
        return .unix(path: path)
    }

    /// - Parameter suffix: What will be put behind the path.
    private static func check(
        _ path: String, _ uri: String, suffix: String = ""
    ) throws(Malformed) {
        guard path.hasPrefix("/"), path.utf8.count > 1, !path.utf8.contains(0) else {
            throw Malformed(
                description: "\"\(uri)\": the path must be absolute, as unix:///run/x.sock")
        }
        let length = path.utf8.count + suffix.utf8.count
        guard length <= 107 else {
            throw Malformed(
                description: "\"\(uri)\": a socket's path has at most 107 bytes, this one \(length)"
            )
        }
    }

    private static func firecracker(_ rest: String) throws(Malformed) -> TunnelURI {
        let parts = rest.split(separator: "?", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].hasPrefix("port="),
            let port = UInt32(parts[1].dropFirst(5)), port > 0
        else {
            throw Malformed(
                description:
                    "\"firecracker://\(rest)\": expected firecracker:///path.sock?port=1024")
        }
        let path = String(parts[0])
        try check(path, "firecracker://\(rest)", suffix: "_\(port)")
        return .firecracker(path: path, port: port)
    }

    private static func tcp(_ rest: String) throws(Malformed) -> TunnelURI {
        guard let endpoint = Endpoint(rest), endpoint.port > 0 else {
            throw Malformed(
                description: "\"tcp://\(rest)\": expected an address and a port, as "
                    + "tcp://127.0.0.1:7070 or tcp://[::1]:7070 (names are not looked up)")
        }
        return .tcp(endpoint)
    }

    private static func vsock(_ rest: String) throws(Malformed) -> TunnelURI {
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        let wrong = Malformed(
            description:
                "\"vsock://\(rest)\": expected vsock://CID:PORT, as vsock://2:1024 to dial "
                + "the host or vsock://any:1024 to listen")
        guard parts.count == 2, let port = UInt32(parts[1]) else { throw wrong }
        if parts[0] == "any" { return .vsock(cid: nil, port: port) }
        guard let cid = UInt32(parts[0]) else { throw wrong }
        return .vsock(cid: cid, port: port)
    }

    /// The URI as text.
    public var description: String {
        switch self {
        case .unix(let path): "unix://\(path)"
        case .vsock(let cid, let port): "vsock://\(cid.map(String.init) ?? "any"):\(port)"
        case .firecracker(let path, let port): "firecracker://\(path)?port=\(port)"
        case .tcp(let endpoint): "tcp://\(endpoint)"
        }
    }
}
extension TunnelURI {
    /// The file of the Unix socket that stands for this address when it is listened for; nil where there
    /// is none.
    public var socketPath: String? {
        switch self {
        case .unix(let path): path
        case .firecracker(let path, let port): "\(path)_\(port)"
        case .vsock, .tcp: nil
        }
    }

    /// Whether the path is a network, so that everything on it is encrypted.
    package var isEncrypted: Bool {
        if case .tcp = self { return true }
        return false
    }

    /// Whether only one of the two can be listened for at a time.
    func collides(with other: TunnelURI) -> Bool {
        switch (self, other) {
        case (.tcp(let one), .tcp(let two)): one.port == two.port
        case (.vsock(_, let one), .vsock(_, let two)): one == two
        default: socketPath != nil && socketPath == other.socketPath
        }
    }
}
