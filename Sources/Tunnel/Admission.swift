internal import Addresses
internal import Posix
internal import Sockets

/// Who may connect to a tunnel that listens. Checked before a byte is read.
public struct Admission: Equatable, Sendable {
    /// The users that may connect over a Unix socket: this program's own, and root.
    public var users: Set<UInt32>
    /// The machines that may connect over vsock; empty: any.
    public var cids: Set<UInt32>
    /// Whether a vsock peer must call from a port below 1024, which takes a privilege in the guest.
    public var requiresPrivilegedPort: Bool

    /// The default: our own user or root; any machine, from a privileged port.
    public init() {
        users = [Machine.userID, 0]
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

    private func unixRefusal(_ socket: borrowing Socket) -> String? {
        guard let user = try? socket.peerUser() else { return "its user cannot be determined" }
        return users.contains(user) ? nil : "it runs as user \(user), which may not connect"
    }

    private func vsockRefusal(_ socket: borrowing Socket, listenedFor cid: UInt32?) -> String? {
        #if os(Linux)
            guard let peer = try? socket.vsockPeer() else { return "its CID cannot be determined" }
            if let cid, peer.cid != cid { return "its CID is \(peer.cid), not \(cid)" }
            if !cids.isEmpty, !cids.contains(peer.cid) {
                return "its CID \(peer.cid) is not one of those that may connect"
            }
            if requiresPrivilegedPort, peer.port >= 1_024 {
                // Without the port, another one at each attempt: the same trouble again is not logged.
                return "it calls from port 1024 or above, and so is not privileged in its machine"
            }
            return nil
        #else
            return "vsock is not available on this system"
        #endif
    }
}
