internal import CKernel
package import Posix
package import TwinportModel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// Creates a UDP socket, bound to `endpoint`, that learns each datagram's destination, so that one on a
    /// wildcard address can answer from the address its client asked.
    ///
    /// - Parameters:
    ///   - isMirror: Whether every Twinport is to know it as a mirror. Its port must then not be 0: the kernel would
    ///     choose it late.
    ///   - sharesPort: Whether sockets with SO_REUSEADDR may be bound to the address later. This one takes no address
    ///     that another socket has, whatever that one allows.
    ///   - prepare: Called with the inode before the socket is bound, and so before the kernel's tables list it.
    package static func boundUDP(
        to endpoint: Endpoint, isV6Only: Bool, isMirror: Bool = false, sharesPort: Bool = false,
        prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: endpoint.family, type: SystemCalls.datagram)
        try socket.setV6Only(isV6Only, for: endpoint)
        try PacketInfo.enable(on: socket, isIPv6: endpoint.address.isIPv6)
        socket.enlargeBuffers()
        if isMirror { socket.markAsMirror() }
        prepare(try socket.inode())
        try socket.bind(to: endpoint)
        // Only now: the kernel looks at this option when somebody binds, at that of both sockets.
        if sharesPort { try socket.setOption(SOL_SOCKET, SO_REUSEADDR, Int32(1)) }
        return socket
    }

    /// Whether all UDP sockets that are bound to a wildcard address, or to the one that is given, let others bind it,
    /// too (SO_REUSEADDR): a socket that does is bound for a moment. Not to that address itself, so that no
    /// datagram goes astray, but to one that nobody uses.
    ///
    /// - Returns: Nil when it cannot be told.
    package static func portIsShared(_ endpoint: Endpoint, isV6Only: Bool) -> Bool? {
        guard endpoint.address.isWildcard else { return nil }
        let address: IPAddress = isV6Only ? unusedV6 : unusedV4
        do throws(SystemError) {
            let place = Endpoint(address, endpoint.port)
            let probe = try Socket(family: place.family, type: SystemCalls.datagram)
            try probe.setOption(SOL_SOCKET, SO_REUSEADDR, Int32(1))
            if isV6Only { try FreeBind.enable(on: probe) }
            try probe.bind(to: place)
            return true
        } catch {
            return error.isAddressInUse ? false : nil
        }
    }

    /// Whether only the socket of such a question can be at an address: one of this program, or of another Twinport on
    /// the machine, which is gone at once.
    package static func isProbe(_ address: IPAddress) -> Bool {
        address == unusedV4 || address == unusedV6
    }

    private static var unusedV4: IPAddress { .v4(IPv4Address(bits: 0x7f5a_a55a)) }
    /// Of the prefix that RFC 6666 discards.
    private static var unusedV6: IPAddress {
        .v6(IPv6Address(high: 0x0100_0000_0000_0000, low: 0x7f5a))
    }

    /// Creates a UDP socket on loopback that is not connected, so that it hears an answer from any port. ICMP errors of
    /// what it sends are reported all the same, until ``settle(on:)``.
    ///
    /// - Parameters:
    ///   - source: Where to bind it instead.
    ///   - isForeign: Whether that is another machine's address, which takes a privilege.
    package static func askingUDP(
        isIPv6: Bool, from source: Endpoint? = nil, isForeign: Bool = false,
        prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let own = source ?? Endpoint(isIPv6 ? .loopbackV6 : .loopbackV4, 0)
        let socket = try Socket(family: own.family, type: SystemCalls.datagram)
        socket.enlargeBuffers()
        prepare(try socket.inode())
        if isForeign { try ForeignBind.enable(on: socket, isIPv6: isIPv6) }
        try socket.bind(to: own)
        try PacketInfo.queueErrors(true, on: socket, isIPv6: isIPv6)
        return socket
    }

    /// Connects a socket of ``askingUDP(isIPv6:from:isForeign:prepare:)``: from now on only datagrams from `endpoint` arrive.
    /// What others sent before may still wait.
    package borrowing func settle(on endpoint: Endpoint) throws(SystemError) {
        let raw = descriptor
        try retrying("connect") {
            unsafe endpoint.withSockaddr { unsafe connect(raw, $0, $1) }
        }
        // A connected socket is told of errors anyway.
        try PacketInfo.queueErrors(false, on: self, isIPv6: endpoint.address.isIPv6)
    }

    /// Drops the errors that wait on a socket of ``askingUDP(isIPv6:from:isForeign:prepare:)``.
    package borrowing func dropErrors(isIPv6: Bool) {
        for isOn in [false, true] {
            // Fails only on a socket that is dead already.
            try? PacketInfo.queueErrors(isOn, on: self, isIPv6: isIPv6)
        }
    }

    /// Creates a UDP socket on loopback that is connected to `endpoint`: only datagrams from there arrive, and its ICMP
    /// errors are reported.
    package static func dialUDP(
        _ endpoint: Endpoint, prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let socket = try askingUDP(isIPv6: endpoint.address.isIPv6, prepare: prepare)
        try socket.settle(on: endpoint)
        return socket
    }

    /// Creates a UDP socket that is bound to `own` and connected to `peer`.
    ///
    /// - Parameters:
    ///   - interface: The interface on whose link a link-local peer is, 0 for others.
    ///   - isShared: Whether a socket that has the address lets this one in for now.
    package static func pairedUDP(
        _ own: Endpoint, _ peer: Endpoint, interface: UInt32, isShared: Bool = false,
        prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: own.family, type: SystemCalls.datagram)
        socket.enlargeBuffers()
        prepare(try socket.inode())
        if isShared { socket.letIn(true) }
        let raw = socket.descriptor
        try retrying("bind") {
            unsafe own.withSockaddr(interface: interface) { unsafe bindCall(raw, $0, $1) }
        }
        if isShared { socket.letIn(false) }
        try retrying("connect") {
            unsafe peer.withSockaddr(interface: interface) { unsafe connect(raw, $0, $1) }
        }
        return socket
    }

    /// Whether UDP sockets of the same user that allow the same may be bound to this one's address (SO_REUSEPORT). The
    /// kernel looks at it when somebody binds, at that of both sockets. Not SO_REUSEADDR, which lets every user in.
    package borrowing func letIn(_ isOpen: Bool) {
        // Fails only on a socket that is dead already.
        try? setOption(SOL_SOCKET, SO_REUSEPORT, Int32(isOpen ? 1 : 0))
    }

    /// Asks for 1 MiB of buffer each way; the kernel grants up to `net.core.{r,w}mem_max`.
    private borrowing func enlargeBuffers() {
        // Less is still correct: UDP drops what does not fit.
        try? setOption(SOL_SOCKET, SO_RCVBUF, Int32(1 << 20))
        try? setOption(SOL_SOCKET, SO_SNDBUF, Int32(1 << 20))
    }

    /// Sends one datagram on a connected socket; it is dropped when the kernel's buffer is full.
    ///
    /// - Returns: Whether it was sent.
    /// - Throws: ``SystemError``; `isRefused` when an earlier one met a closed port.
    package borrowing func sendDatagram(_ bytes: Span<UInt8>) throws(SystemError) -> Bool {
        try write(bytes) != nil
    }

    /// Sends one datagram from a bound socket.
    ///
    /// - Parameters:
    ///   - peer: Where to. Of the socket's family (an IPv4 peer of a dual-stack socket is mapped).
    ///   - source: The local address to send from, nil to let the kernel choose.
    ///   - interface: The interface on whose link a link-local peer is, 0 for others.
    /// - Returns: Whether it was sent; false when the kernel's buffer is full.
    package borrowing func sendDatagram(
        _ bytes: Span<UInt8>, to peer: Endpoint, from source: IPAddress?, interface: UInt32 = 0
    ) throws(SystemError) -> Bool {
        var header = unsafe msghdr()
        let raw = descriptor
        let sent = try nonBlocking("sendmsg") {
            unsafe bytes.withUnsafeBytes { payload in
                var vector = unsafe iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: payload.baseAddress),
                    iov_len: payload.count)
                return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    unsafe header.msg_iov = vector
                    unsafe header.msg_iovlen = 1
                    return unsafe peer.withSockaddr(interface: interface) { address, length in
                        unsafe header.msg_name = UnsafeMutableRawPointer(mutating: address)
                        unsafe header.msg_namelen = length
                        return unsafe PacketInfo.withSource(source, for: peer, in: &header) {
                            unsafe sendmsg(raw, &$0, Int32(MSG_NOSIGNAL))
                        }
                    }
                }
            }
        }
        return sent != nil
    }
}

extension IPAddress {
    /// The address as a dual-stack socket spells it.
    var asIPv6: IPv6Address {
        switch self {
        case .v4(let address): IPv6Address(mapping: address)
        case .v6(let address): address
        }
    }
}
