internal import Posix
internal import TwinportModel

/// Why an address cannot be reached, and what to do, in words. The same for the same trouble: repeats are not logged.
enum DialWords {
    static func text(of error: LinkError, at uri: TunnelURI) -> String {
        guard case .system(let error) = error else { return error.description }
        let words = SystemError.text(of: error.code)
        if error.isPermissionDenied, uri.socketPath != nil {
            return
                "this user may not connect there (\(words)); give user \(ThisProcess.userID) access to the socket "
                + "and its folder"
        }
        if case .vsock = uri, error.isAddressUnavailable || error.isNoDevice {
            return
                "this machine has no vsock device (\(words)); give the VM one, or use another kind of tunnel"
        }
        if error.isRefused || error.isMissing || error.isConnectionLost {
            return
                "no program listens there (\(words)); start Twinport at the other end, or correct the address here"
        }
        return "\(words); check the address, and that the other end runs"
    }
}
