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
            "cannot listen at \(uri): \(SystemError.text(of: error.code))\(Self.hint(error, uri))"
        case .badFolder(let uri, let problem): "cannot listen at \(uri): \(problem)"
        case .system(let error): error.description
        }
    }

    private static func hint(_ error: SystemError, _ uri: TunnelURI) -> String {
        if error.isAddressInUse {
            return "; another program listens there: end it, or choose another address"
        }
        if error.isOccupied {
            return "; it is not a socket of this program's user: remove it, or choose another path"
        }
        switch uri {
        case .tcp where error.isAddressUnavailable:
            return
                "; no interface of this machine has it: \"ip address\" shows those that there are"
        case .vsock where error.isAddressUnavailable || error.isNoDevice:
            return "; this machine has no vsock: use unix:// or tcp://"
        case .tcp where error.isPermissionDenied, .vsock where error.isPermissionDenied:
            return "; this user may not have that port: choose one from 1024 up"
        case .unix where error.isPermissionDenied, .firecracker where error.isPermissionDenied:
            return "; user \(ThisProcess.userID) may not make a socket there: choose another folder"
        default: return ""
        }
    }
}
