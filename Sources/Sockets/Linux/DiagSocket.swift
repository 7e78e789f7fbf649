internal import CKernel
internal import Glibc
package import Posix

/// A netlink socket: to the kernel's NETLINK_SOCK_DIAG (sock_diag(7)), NETLINK_ROUTE (rtnetlink(7)) or NETLINK_NETFILTER.
package struct DiagSocket: ~Copyable {
    private let fd: OwnedFD

    /// The descriptor, for a poller.
    package var descriptor: Int32 { fd.raw }

    /// What a socket asks about.
    package enum Subject {
        case sockets
        /// Interfaces, addresses and routes.
        case links
        /// The rules of nftables.
        case filters
    }

    /// Opens the socket.
    ///
    /// - Parameter toRoute: Whether it asks about links, not about sockets.
    package init(toRoute: Bool = false) throws(SystemError) {
        try self.init(about: toRoute ? .links : .sockets)
    }

    /// Opens the socket.
    package init(about subject: Subject) throws(SystemError) {
        let family =
            switch subject {
            case .sockets: NETLINK_SOCK_DIAG
            case .links: NETLINK_ROUTE
            case .filters: NETLINK_NETFILTER
            }
        let type = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        fd = OwnedFD(
            taking: try retrying("socket netlink") {
                socket(AF_NETLINK, type, family)
            })
    }

    /// Gives the socket a port (`nl_pid`), which no other socket of this network namespace and family has.
    ///
    /// - Throws: ``SystemError``; `isAddressInUse` when one has.
    package borrowing func bind(port routePort: UInt32) throws(SystemError) {
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_pid = routePort
        let raw = fd.raw
        try retrying("bind netlink") {
            unsafe withSockaddrPointer(to: &address) { unsafe Socket.bindCall(raw, $0, $1) }
        }
    }

    /// Joins a multicast group, for instance one that announces closed sockets.
    package borrowing func join(group: Int32) throws(SystemError) {
        let raw = fd.raw
        var group = group
        try retrying("setsockopt netlink") {
            unsafe setsockopt(
                raw, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
                socklen_t(MemoryLayout<Int32>.size))
        }
    }

    /// Sends a request.
    package borrowing func send(_ bytes: [UInt8]) throws(SystemError) {
        let raw = fd.raw
        try retrying("send netlink") {
            unsafe bytes.withUnsafeBytes { unsafe Glibc.send(raw, $0.baseAddress, $0.count, 0) }
        }
    }

    /// Receives one message into `bytes`. The kernel produces a dump while it is read, so a read of a
    /// dump never finds "none yet".
    ///
    /// - Returns: How many bytes, nil when none wait.
    package borrowing func receive(into bytes: inout [UInt8]) throws(SystemError) -> Int? {
        let raw = fd.raw
        let result: Result<Int?, SystemError> = unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(SystemError) {
                return .success(
                    try nonBlocking("recv netlink") {
                        unsafe recv(raw, buffer.baseAddress, buffer.count, 0)
                    })
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Drops all waiting messages.
    package borrowing func drain() {
        var scratch = [UInt8](repeating: 0, count: 8_192)
        let raw = fd.raw
        for _ in 0..<256 {
            let count = unsafe recv(raw, &scratch, scratch.count, 0)
            // ENOBUFS: messages were lost. That counts as a message.
            if count < 0, errno != ENOBUFS { return }
        }
    }
}

private let SOL_NETLINK: Int32 = 270
