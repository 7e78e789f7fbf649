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
}
