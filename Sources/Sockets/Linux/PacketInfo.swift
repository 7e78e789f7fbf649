internal import CKernel
internal import Glibc
internal import Posix
internal import TwinportModel

/// The control messages that carry a datagram's local address (IP_PKTINFO in ip(7), IPV6_PKTINFO in RFC 3542),
/// in Linux's layouts.
enum PacketInfo {
    /// Asks for the destination of each datagram that `socket` receives.
    static func enable(on socket: borrowing Socket, isIPv6: Bool) throws(SystemError) {
        if isIPv6 {
            try socket.setOption(Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, Int32(1))
        }
        // Of an IPv4 datagram at an IPv6 socket, too: only this says from where a broadcast may be answered.
        try socket.setOption(Int32(IPPROTO_IP), IP_PKTINFO, Int32(1))
    }

    /// Whether ICMP errors are kept for a socket that is not connected (IP_RECVERR in ip(7)). Turning it off drops
    /// those that wait.
    static func queueErrors(
        _ isOn: Bool, on socket: borrowing Socket, isIPv6: Bool
    ) throws(SystemError) {
        let value: Int32 = isOn ? 1 : 0
        if isIPv6 {
            try socket.setOption(Int32(IPPROTO_IPV6), IPV6_RECVERR, value)
        } else {
            try socket.setOption(Int32(IPPROTO_IP), IP_RECVERR, value)
        }
    }

    /// The local address from which a received datagram is to be answered, by its control messages: the one it was sent
    /// to, or that of the interface if it was a broadcast or multicast; nil when they do not say.
    @unsafe static func destination(in message: UnsafeMutablePointer<msghdr>) -> IPAddress? {
        var item = unsafe ckernel_cmsg_first(message)
        var v6: IPAddress?
        while let current = unsafe item {
            let level = unsafe current.pointee.cmsg_level
            let type = unsafe current.pointee.cmsg_type
            if level == Int32(IPPROTO_IP), type == IP_PKTINFO {
                let info = unsafe UnsafeRawPointer(ckernel_cmsg_data(current))
                    .loadUnaligned(as: ckernel_in_pktinfo.self)
                return .v4(IPv4Address(bits: UInt32(bigEndian: info.ipi_spec_dst.s_addr)))
            }
            if level == Int32(IPPROTO_IPV6), type == IPV6_PKTINFO {
                let info = unsafe UnsafeRawPointer(ckernel_cmsg_data(current))
                    .loadUnaligned(as: ckernel_in6_pktinfo.self)
                let address = IPAddress.v6(IPv6Address(info.ipi6_addr))
                if !address.isMulticastOrBroadcast { v6 = address }
            }
            unsafe item = ckernel_cmsg_next(message, current)
        }
        return v6
    }

    /// Attaches a control message that pins the source address, then calls `body`. With no address the kernel
    /// chooses one.
    @unsafe static func withSource(
        _ source: IPAddress?, for peer: Endpoint, in header: inout msghdr,
        _ body: (inout msghdr) -> Int
    ) -> Int {
        guard let source else { return unsafe body(&header) }
        return unsafe withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { control in
            unsafe header.msg_control = control.baseAddress
            unsafe header.msg_controllen = 0
            unsafe append(source, for: peer, to: &header)
            return unsafe body(&header)
        }
    }

    /// Adds a control message that pins the source address. The message's buffer must have room: 40 bytes.
    @unsafe static func append(
        _ source: IPAddress, for peer: Endpoint, to message: UnsafeMutablePointer<msghdr>
    ) {
        if peer.address.isIPv6 {
            var info = ckernel_in6_pktinfo()
            info.ipi6_addr = in6_addr(source.asIPv6)
            unsafe ControlMessage.append(Int32(IPPROTO_IPV6), IPV6_PKTINFO, info, to: message)
        } else {
            var info = ckernel_in_pktinfo()
            if case .v4(let v4) = source.unmapped {
                info.ipi_spec_dst.s_addr = v4.bits.bigEndian
            }
            unsafe ControlMessage.append(Int32(IPPROTO_IP), IP_PKTINFO, info, to: message)
        }
    }
}
