public import Addresses
internal import CKernel
public import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Socket {
    /// Creates a UDP socket bound to `endpoint` that learns each datagram's destination (IP_PKTINFO,
    /// IPV6_RECVPKTINFO), so that a wildcard mirror can answer from the address its client asked.
    ///
    /// - Parameter prepare: Called with the inode before the socket is bound, and so before `/proc/net`
    ///   lists it.
    public static func boundUDP(
        to endpoint: Endpoint, isV6Only: Bool, prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: endpoint.family, type: Int32(SOCK_DGRAM.rawValue))
        try socket.setV6Only(isV6Only, for: endpoint)
        if endpoint.address.isIPv6 {
            try socket.setOption(Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, Int32(1))
        } else {
            try socket.setOption(Int32(IPPROTO_IP), IP_PKTINFO, Int32(1))
        }
        socket.enlargeBuffers()
        prepare(try socket.inode())
        try socket.bind(to: endpoint)
        return socket
    }

    /// Creates a UDP socket connected to `endpoint`: only datagrams from there arrive, and its ICMP
    /// errors are reported.
    public static func dialUDP(
        _ endpoint: Endpoint, prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let socket = try Socket(family: endpoint.family, type: Int32(SOCK_DGRAM.rawValue))
        socket.enlargeBuffers()
        prepare(try socket.inode())
        _ = try socket.startConnect { raw in
            unsafe endpoint.withSockaddr { unsafe connect(raw, $0, $1) }
        }
        return socket
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
    public borrowing func sendDatagram(_ bytes: Span<UInt8>) throws(SystemError) -> Bool {
        try write(bytes) != nil
    }

    /// Sends one datagram from a bound socket.
    ///
    /// - Parameters:
    ///   - peer: Where to. Of the socket's family (an IPv4 peer of a dual-stack socket is mapped).
    ///   - source: The local address to send from, nil to let the kernel choose.
    ///   - interface: The interface on whose link a link-local peer is, 0 for others.
    /// - Returns: Whether it was sent; false when the kernel's buffer is full.
    public borrowing func sendDatagram(
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
                        return unsafe withSourceControl(source, for: peer, in: &header) { header in
                            unsafe sendmsg(raw, &header, Int32(MSG_NOSIGNAL))
                        }
                    }
                }
            }
        }
        return sent != nil
    }
}

/// Attaches a packet-information control message that pins the source address, then calls `body`.
@unsafe private func withSourceControl(
    _ source: IPAddress?, for peer: Endpoint, in header: inout msghdr,
    _ body: (inout msghdr) -> Int
) -> Int {
    guard let source else { return unsafe body(&header) }
    return unsafe withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { control in
        unsafe memset(control.baseAddress!, 0, control.count)
        unsafe header.msg_control = control.baseAddress
        unsafe header.msg_controllen = control.count
        guard let item = unsafe ckernel_cmsg_first(&header) else { return unsafe body(&header) }
        let size: Int
        if peer.address.isIPv6 {
            var info = ckernel_in6_pktinfo()
            info.ipi6_addr = in6_addr(source.asIPv6)
            size = unsafe fill(item, Int32(IPPROTO_IPV6), IPV6_PKTINFO, info)
        } else {
            var info = ckernel_in_pktinfo()
            if case .v4(let v4) = source.unmapped { info.ipi_spec_dst.s_addr = v4.bits.bigEndian }
            size = unsafe fill(item, Int32(IPPROTO_IP), IP_PKTINFO, info)
        }
        unsafe header.msg_controllen = size
        return unsafe body(&header)
    }
}

/// Writes one control message.
///
/// - Returns: The bytes it takes, padding included.
@unsafe private func fill<Info>(
    _ item: UnsafeMutablePointer<cmsghdr>, _ level: Int32, _ type: Int32, _ info: Info
) -> Int {
    let size = MemoryLayout<Info>.size
    unsafe item.pointee.cmsg_level = level
    unsafe item.pointee.cmsg_type = type
    unsafe item.pointee.cmsg_len = ckernel_cmsg_len(size)
    unsafe withUnsafeBytes(of: info) { bytes in
        _ = unsafe memcpy(ckernel_cmsg_data(item), bytes.baseAddress!, size)
    }
    return ckernel_cmsg_space(size)
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
