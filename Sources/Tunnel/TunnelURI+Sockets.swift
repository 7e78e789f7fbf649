public import Addresses

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

    /// Whether only one of the two can be listened for at a time.
    func collides(with other: TunnelURI) -> Bool {
        switch (self, other) {
        case (.tcp(let one), .tcp(let two)): one.port == two.port
        case (.vsock(_, let one), .vsock(_, let two)): one == two
        default: socketPath != nil && socketPath == other.socketPath
        }
    }
}
