/// Where the tunnel is listened for or dialled.
public enum TunnelURI: Hashable, Sendable, CustomStringConvertible {
    /// `unix:///path.sock`.
    case unix(path: String)
    /// `vsock://CID:PORT`; nil, written `any`, when listening: every machine may call.
    case vsock(cid: UInt32?, port: UInt32)

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
        case "tcp", "firecracker":
            throw Malformed(
                description: "\"\(text)\": this version has no \(parts?.scheme ?? "") transport; "
                    + "use unix:///path.sock or vsock://CID:PORT")
        default:
            throw Malformed(
                description: "\"\(text)\" is not a tunnel address; "
                    + "use unix:///path.sock or vsock://CID:PORT")
        }
    }

    private static func split(_ text: String) -> (scheme: String, rest: String)? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].hasPrefix("//") else { return nil }
        return (String(parts[0]), String(parts[1].dropFirst(2)))
    }

    private static func unix(_ path: String) throws(Malformed) -> TunnelURI {
        guard path.hasPrefix("/"), path.utf8.count > 1, !path.utf8.contains(0) else {
            throw Malformed(
                description: "\"unix://\(path)\": the path must be absolute, as unix:///run/x.sock")
        }
        guard path.utf8.count <= 107 else {
            throw Malformed(
                description: "\"unix://\(path)\": a socket's path has at most 107 bytes, "
                    + "this one \(path.utf8.count)")
        }
        return .unix(path: path)
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
        }
    }
}
