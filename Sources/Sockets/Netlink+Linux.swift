public import Posix

#if os(Linux)
    internal import CKernel
    internal import Glibc

    /// A socket to the kernel's NETLINK_SOCK_DIAG (sock_diag(7)).
    public struct DiagSocket: ~Copyable {
        private let fd: OwnedFD

        /// The descriptor, for a poller.
        public var descriptor: Int32 { fd.raw }

        /// Opens the socket.
        public init() throws(SystemError) {
            let type = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            fd = OwnedFD(
                taking: try retrying("socket netlink") {
                    socket(AF_NETLINK, type, NETLINK_SOCK_DIAG)
                })
        }

        /// Joins a multicast group, as the ones that tell of closed sockets.
        public borrowing func join(group: Int32) throws(SystemError) {
            let raw = fd.raw
            var group = group
            try retrying("setsockopt netlink") {
                unsafe setsockopt(
                    raw, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
                    socklen_t(MemoryLayout<Int32>.size))
            }
        }

        /// Sends a request.
        public borrowing func send(_ bytes: [UInt8]) throws(SystemError) {
            let raw = fd.raw
            try retrying("send netlink") {
                unsafe bytes.withUnsafeBytes { unsafe Glibc.send(raw, $0.baseAddress, $0.count, 0) }
            }
        }

        /// Receives one message into `bytes`. A dump is produced while it is read, so "none there yet"
        /// is not an answer the kernel gives to a dump.
        ///
        /// - Returns: How many bytes, nil when none wait.
        public borrowing func receive(into bytes: inout [UInt8]) throws(SystemError) -> Int? {
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

        /// Throws away what waits.
        public borrowing func drain() {
            var scratch = [UInt8](repeating: 0, count: 8_192)
            let raw = fd.raw
            for _ in 0..<256 {
                let count = unsafe recv(raw, &scratch, scratch.count, 0)
                // ENOBUFS: messages were lost, which says no more than that there were some.
                if count < 0, errno != ENOBUFS { return }
            }
        }
    }

    private let SOL_NETLINK: Int32 = 270
#endif
