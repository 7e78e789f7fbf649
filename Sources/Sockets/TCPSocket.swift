internal import CKernel
package import Posix
package import TwinportModel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// Creates a TCP socket bound to `endpoint`, with SO_REUSEADDR (so that connections in TIME_WAIT do
    /// not hold the port) and TCP_NODELAY (which accepted sockets inherit). Never
    /// SO_REUSEPORT: two listeners on one port are a conflict.
    ///
    /// - Parameter isV6Only: For `[::]`: whether IPv4 clients are left out. Without meaning otherwise.
    /// - Throws: ``SystemError`` of `socket`, `setsockopt` or `bind`.
    package static func boundTCP(
        to endpoint: Endpoint, isV6Only: Bool
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: endpoint.family, type: SystemCalls.stream)
        try socket.setOption(SOL_SOCKET, SO_REUSEADDR, Int32(1))
        try socket.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
        try socket.setV6Only(isV6Only, for: endpoint)
        try socket.bind(to: endpoint)
        return socket
    }

    /// Has the kernel probe the other end of each connection that this listener accepts when it is silent, by the
    /// system's own times (tcp(7)), so that one that vanished without a word is noticed.
    package borrowing func probeAccepted() throws(SystemError) {
        try setOption(SOL_SOCKET, SO_KEEPALIVE, Int32(1))
    }

    /// Has the kernel probe the other end after so many seconds of silence.
    ///
    /// The interval between the nine probes is half of it, 2 to 75 s.
    package borrowing func probe(after seconds: UInt16) {
        let idle = min(max(Int32(seconds), 5), 32_767)
        let level = Int32(IPPROTO_TCP)
        // Fails only on a socket that is dead already.
        try? setOption(level, TCP_KEEPINTVL, min(max(idle / 2, 2), 75))
        try? setOption(level, TCP_KEEPCNT, Int32(9))
        try? setOption(level, TCP_KEEPIDLE, idle)
        try? setOption(SOL_SOCKET, SO_KEEPALIVE, Int32(1))
    }

    /// Starts accepting; from here on the port answers.
    package borrowing func listenForConnections() throws(SystemError) {
        try startListening(backlog: 4_096)
    }

    /// Takes the next waiting connection.
    ///
    /// - Returns: The connection, nil when none waits. A connection that died in the queue
    ///   (ECONNABORTED) is passed over.
    /// - Throws: ``SystemError``; `isExhaustion` means: pause and try later.
    package borrowing func accept() throws(SystemError) -> Socket? {
        let raw = descriptor
        while true {
            do {
                let accepted = try nonBlocking("accept") { SystemCalls.accept(raw) }
                guard let accepted else { return nil }
                return Socket(taking: accepted)
            } catch {
                if error.code != ECONNABORTED { throw error }
            }
        }
    }

    /// The other end of a connection.
    package borrowing func peerEndpoint() throws(SystemError) -> Endpoint {
        let raw = descriptor
        return try unsafe readEndpoint("getpeername") { unsafe getpeername(raw, $0, $1) }
    }

    /// Whether the three-way handshake is over: getpeername(2) fails in SYN-SENT.
    private var isEstablished: Bool {
        (try? peerEndpoint()) != nil
    }

    /// A TCP socket that is connecting.
    package struct Dial: ~Copyable {
        /// The socket, until it is taken.
        private var socket: Socket?
        /// Whether it is connected already, which is the rule on loopback.
        package let isConnected: Bool

        init(socket: consuming Socket, isConnected: Bool) {
            self.socket = consume socket
            self.isConnected = isConnected
        }

        /// Hands out the socket, once.
        package mutating func takeSocket() -> Socket? { socket.take() }
    }

    /// Dials `endpoint` over TCP, with TCP_NODELAY.
    ///
    /// - Parameters:
    ///   - source: The address and port to dial from; nil for what the kernel chooses.
    ///   - isForeign: Whether that is another machine's, which takes a privilege.
    /// - Throws: ``SystemError``; `isRefused` when there is no listener.
    package static func dialTCP(
        _ endpoint: Endpoint, from source: Endpoint? = nil, isForeign: Bool = false
    ) throws(SystemError) -> Dial {
        let socket = try Socket(family: endpoint.family, type: SystemCalls.stream)
        if let source { try socket.bindDial(to: source, isForeign: isForeign) }
        try socket.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
        var isConnected = try socket.startConnect { raw in
            unsafe endpoint.withSockaddr { unsafe connect(raw, $0, $1) }
        }
        // On loopback the answer is there by the time connect(2) returns EINPROGRESS. If it were taken from the
        // loop only, a peer that resets in between would look like one that refused.
        if !isConnected { isConnected = socket.isEstablished }
        return Dial(socket: socket, isConnected: isConnected)
    }

    private borrowing func bindDial(
        to source: Endpoint, isForeign: Bool
    ) throws(SystemError) {
        if isForeign { try ForeignBind.enable(on: self, isIPv6: source.address.isIPv6) }
        if source.port == 0 {
            ForeignBind.chooseLate(on: self)
        } else {
            // A client may use one port for several listeners.
            try setOption(SOL_SOCKET, SO_REUSEADDR, Int32(1))
        }
        try bind(to: source)
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
    package static var isIPv6Supported: Bool {
        do {
            _ = try Socket(family: AF_INET6, type: SystemCalls.stream)
            return true
        } catch {
            return false
        }
    }
}
