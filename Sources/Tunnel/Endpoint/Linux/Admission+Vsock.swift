internal import Posix
internal import Sockets

extension Admission {
    /// The machine at the other end of a vsock connection.
    func vsockMachine(_ socket: borrowing Socket) -> UInt32? {
        (try? socket.vsockPeer())?.cid
    }

    /// Says why a vsock peer may not connect, nil when it may.
    ///
    /// - Parameter cid: The machine that the tunnel's address names; nil: any.
    func vsockRefusal(_ socket: borrowing Socket, listenedFor cid: UInt32?) -> String? {
        guard let peer = try? socket.vsockPeer() else { return "its CID cannot be determined" }
        if let cid, peer.cid != cid {
            return
                "its CID is \(peer.cid), not \(cid) as in the tunnel's address; correct that, or use vsock://any:PORT"
        }
        if !cids.isEmpty, !cids.contains(peer.cid) {
            return "its CID \(peer.cid) is not one of those that may connect"
        }
        if requiresPrivilegedPort, peer.port >= 1_024 {
            // Without the port, another one at each attempt: the same trouble again is not logged.
            return
                "it calls from port 1024 or above, and so is not privileged in its machine; run it as root there, or with "
                + "CAP_NET_BIND_SERVICE"
        }
        return nil
    }
}
