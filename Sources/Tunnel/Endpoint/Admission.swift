internal import Posix
internal import Sockets
internal import TwinportModel

/// Which peers may connect to a tunnel that listens. Checked before a byte is read.
package struct Admission: Equatable, Sendable {
    /// The users that may connect over a Unix socket: this program's own, and root.
    package var users: Set<UInt32>
    /// The machines that may connect over vsock; empty: any.
    package var cids: Set<UInt32>
    /// Whether a vsock peer must call from a port below 1024, which takes a privilege in the guest.
    package var requiresPrivilegedPort: Bool

    /// What admits a user who is none of these; said beside the refusal.
    package var remedy = ""

    /// The default: our own user or root; any machine, from a privileged port.
    package init() {
        users = [ThisProcess.userID, 0]
        cids = []
        requiresPrivilegedPort = true
    }

    /// Says why a peer may not connect, nil when it may.
    func refusal(_ socket: borrowing Socket, at uri: TunnelURI) -> String? {
        switch uri {
        case .unix, .firecracker: unixRefusal(socket)
        case .vsock(let cid, _): vsockRefusal(socket, listenedFor: cid)
        // The key decides.
        case .tcp: nil
        }
    }

    /// Where a connection comes from, as far as the kernel tells.
    func origin(of socket: borrowing Socket, at uri: TunnelURI) -> SessionOwner.Origin? {
        switch uri {
        case .unix, .firecracker: (try? socket.peerUser()).map { .user($0) }
        case .vsock: vsockMachine(socket).map { .machine($0) }
        case .tcp: nil
        }
    }

    /// Says why the program that listens at an address may be another user's; nil when it is ours or root's, or when the
    /// address is no file.
    ///
    /// Asked before dialling: the file and its folder tell who can have put it there.
    func distrust(of uri: TunnelURI) -> String? {
        let path: String
        switch uri {
        case .unix(let place), .firecracker(let place, _): path = place
        case .vsock, .tcp: return nil
        }
        return SocketFolder.distrust(of: path, users: users).map { why in
            why.hasSuffix("neither ours nor root") ? why + remedy : why
        }
    }

    /// The same once it is connected: by the user that called listen(2).
    func distrust(of listener: borrowing Socket, at uri: TunnelURI) -> String? {
        switch uri {
        case .vsock, .tcp: return nil
        case .unix, .firecracker: break
        }
        guard let user = try? listener.peerUser() else { return "its user cannot be determined" }
        return users.contains(user)
            ? nil
            : "the program that listens there runs as user \(user), neither ours nor root\(remedy)"
    }

    private func unixRefusal(_ socket: borrowing Socket) -> String? {
        guard let user = try? socket.peerUser() else { return "its user cannot be determined" }
        if users.contains(user) { return nil }
        let expected = users.sorted().map(String.init).joined(separator: " or ")
        return "it runs as user \(user), which may not connect; expected user \(expected)\(remedy)"
    }
}
