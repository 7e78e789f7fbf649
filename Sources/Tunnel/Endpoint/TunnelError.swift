package import Posix
package import TwinportModel

/// Why a tunnel cannot be opened.
package enum TunnelError: Error, CustomStringConvertible {
    /// A `tcp://` tunnel was asked for without a key.
    case keyMissing
    /// The address cannot be listened on.
    case cannotListen(TunnelURI, SystemError)
    /// The folder of the tunnel's socket is no place for it.
    case badFolder(TunnelURI, SocketFolder.Problem)
    /// The loop has no descriptor or memory left for it.
    case system(SystemError)

    /// In one line, with what is in the way or what to do.
    package var description: String {
        switch self {
        case .keyMissing:
            "a tcp:// tunnel needs a key: \"twinport key new PATH\", and PATH on both ends"
        case .cannotListen(let uri, let error):
            "cannot listen at \(uri): \(SystemError.text(of: error.code))\(Self.hint(error))"
        case .badFolder(let uri, let problem): "cannot listen at \(uri): \(problem)"
        case .system(let error): error.description
        }
    }

    private static func hint(_ error: SystemError) -> String {
        if error.isAddressInUse { return " (another program listens there)" }
        return error.isOccupied ? " (and it is not a socket of ours)" : ""
    }
}
