public import Addresses
internal import CKernel
public import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// Creates a TCP socket bound to `endpoint`, with SO_REUSEADDR (so that connections in TIME_WAIT do
    /// not hold the port) and TCP_NODELAY (which accepted sockets inherit on Linux). Never
    /// SO_REUSEPORT: two listeners on one port are a conflict.
    ///
    /// - Parameter isV6Only: For `[::]`: whether IPv4 clients are left out. Without meaning otherwise.
    /// - Throws: ``SystemError`` of `socket`, `setsockopt` or `bind`.
    public static func boundTCP(
        to endpoint: Endpoint, isV6Only: Bool
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: endpoint.family, type: Int32(SOCK_STREAM.rawValue))
        try socket.setOption(SOL_SOCKET, SO_REUSEADDR, Int32(1))
        try socket.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
        try socket.setV6Only(isV6Only, for: endpoint)
        try socket.bind(to: endpoint)
        return socket
    }

    /// Starts accepting; from here on the port answers.
    public borrowing func listenForConnections() throws(SystemError) {
        try startListening(backlog: 4_096)
    }

    /// Takes the next waiting connection.
    ///
    /// - Returns: The connection, nil when none waits. A connection that died in the queue
    ///   (ECONNABORTED) is passed over.
    /// - Throws: ``SystemError``; `isExhaustion` means: pause and try later.
    public borrowing func accept() throws(SystemError) -> Socket? {
        let raw = descriptor
        while true {
            do {
                let accepted = try nonBlocking("accept4") { ckernel_accept(raw, nil, nil) }
                guard let accepted else { return nil }
                return Socket(taking: accepted)
            } catch {
                if error.code != ECONNABORTED { throw error }
            }
        }
    }

    /// The other end of a connection.
    public borrowing func peerEndpoint() throws(SystemError) -> Endpoint {
        let raw = descriptor
        return try unsafe readEndpoint("getpeername") { unsafe getpeername(raw, $0, $1) }
    }

    /// A TCP socket that is connecting.
    public struct Dial: ~Copyable {
        /// The socket, until it is taken.
        private var socket: Socket?
        /// Whether it is connected already, which is the rule on loopback.
        public let isConnected: Bool

        init(socket: consuming Socket, isConnected: Bool) {
            self.socket = consume socket
            self.isConnected = isConnected
        }

        /// Hands out the socket, once.
        public mutating func takeSocket() -> Socket? { socket.take() }
    }

    /// Dials `endpoint` over TCP, with TCP_NODELAY.
    ///
    /// - Throws: ``SystemError``; `isRefused` when nobody listens there.
    public static func dialTCP(_ endpoint: Endpoint) throws(SystemError) -> Dial {
        let socket = try Socket(family: endpoint.family, type: Int32(SOCK_STREAM.rawValue))
        try socket.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
        var isConnected = try socket.startConnect { raw in
            unsafe endpoint.withSockaddr { unsafe connect(raw, $0, $1) }
        }
        // On loopback the peer has answered by now, although connect(2) could not wait for it to say so.
        if !isConnected { isConnected = socket.isWritableNow() }
        return Dial(socket: socket, isConnected: isConnected)
    }

    /// Whether the socket takes bytes at this moment, and has no error.
    private borrowing func isWritableNow() -> Bool {
        var question = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return unsafe poll(&question, 1, 0) == 1 && question.revents == Int16(POLLOUT)
    }

    /// Applies IPV6_V6ONLY to IPv6 sockets. A specific address is always v6-only.
    borrowing func setV6Only(_ isV6Only: Bool, for endpoint: Endpoint) throws(SystemError) {
        guard endpoint.address.isIPv6 else { return }
        let only: Int32 = isV6Only || endpoint.address != .anyV6 ? 1 : 0
        try setOption(Int32(IPPROTO_IPV6), IPV6_V6ONLY, only)
    }
}

extension Endpoint {
    /// AF_INET or AF_INET6.
    var family: Int32 { address.isIPv6 ? AF_INET6 : AF_INET }
}

extension Socket {
    /// Whether this machine has IPv6 at all: a socket of that family can be made.
    public static var isIPv6Supported: Bool {
        do {
            _ = try Socket(family: AF_INET6, type: Int32(SOCK_STREAM.rawValue))
            return true
        } catch {
            return false
        }
    }
}
