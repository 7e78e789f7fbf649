public import Addresses
internal import CKernel
public import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Receives up to 32 datagrams with one system call (recvmmsg(2)).
///
/// One batch serves all UDP sockets of a loop: it holds 32 buffers of 64 KiB, of which only the pages
/// that datagrams filled are ever touched. What it received is valid until the next ``receive(from:limit:)``.
@safe public final class DatagramBatch {
    /// The most datagrams one call returns.
    public static let capacity = 32
    /// More than the largest UDP payload (65,507 bytes), so nothing is ever cut.
    private static let slot = 65_536
    private static let controlSize = 64

    private let payloads: UnsafeMutableRawBufferPointer
    private let controls: UnsafeMutableRawBufferPointer
    private let names: UnsafeMutablePointer<sockaddr_storage>
    private let vectors: UnsafeMutablePointer<iovec>
    private let headers: UnsafeMutablePointer<ckernel_mmsghdr>
    private var received = 0
    /// How many bytes the payloads have that came last, all together.
    public private(set) var byteCount = 0

    /// Allocates the buffers.
    public init() {
        let capacity = Self.capacity
        unsafe payloads = .allocate(byteCount: capacity * Self.slot, alignment: 64)
        unsafe controls = .allocate(byteCount: capacity * Self.controlSize, alignment: 8)
        unsafe names = .allocate(capacity: capacity)
        unsafe names.initialize(repeating: sockaddr_storage(), count: capacity)
        unsafe vectors = .allocate(capacity: capacity)
        unsafe headers = .allocate(capacity: capacity)
        unsafe headers.initialize(repeating: ckernel_mmsghdr(), count: capacity)
        for index in 0..<capacity {
            unsafe vectors[index] = iovec(
                iov_base: payloads.baseAddress! + index * Self.slot, iov_len: Self.slot)
            prepare(index)
        }
    }

    private func prepare(_ index: Int) {
        unsafe headers[index].msg_hdr = msghdr(
            msg_name: names + index,
            msg_namelen: socklen_t(MemoryLayout<sockaddr_storage>.size),
            msg_iov: vectors + index, msg_iovlen: 1,
            msg_control: controls.baseAddress! + index * Self.controlSize,
            msg_controllen: Self.controlSize, msg_flags: 0)
    }

    deinit {
        unsafe payloads.deallocate()
        unsafe controls.deallocate()
        unsafe names.deallocate()
        unsafe vectors.deallocate()
        unsafe headers.deallocate()
    }

    /// Receives what waits, at most `limit` datagrams.
    ///
    /// - Returns: How many datagrams came, nil when none wait.
    /// - Throws: ``SystemError``: an ICMP error of a connected socket arrives here.
    public func receive(
        from socket: borrowing Socket, limit: Int = capacity
    ) throws(SystemError) -> Int? {
        let limit = max(1, min(limit, Self.capacity))
        // The kernel changed those it filled; the one after them is where it may have failed.
        for index in 0..<min(received + 1, Self.capacity) { prepare(index) }
        let raw = socket.descriptor
        received = 0
        let count = try nonBlocking("recvmmsg") {
            unsafe ckernel_recvmmsg(raw, headers, UInt32(limit))
        }
        guard let count else { return nil }
        received = Int(count)
        var bytes = 0
        for index in 0..<received { unsafe bytes += Int(headers[index].msg_len) }
        byteCount = bytes
        return received
    }

    /// Calls `body` with the payload of datagram `index`, which it must not keep.
    public func withPayload<Result>(_ index: Int, _ body: (Span<UInt8>) -> Result) -> Result {
        precondition(index < received)
        let length = unsafe min(Int(headers[index].msg_len), Self.slot)
        let bytes = unsafe UnsafeRawBufferPointer(payloads)[
            (index * Self.slot)..<(index * Self.slot + length)]
        let typed = unsafe UnsafeRawBufferPointer(rebasing: bytes).bindMemory(to: UInt8.self)
        return unsafe body(typed.span)
    }

    /// Who sent datagram `index`; nil for a connected socket or an unknown family.
    public func sender(_ index: Int) -> Endpoint? {
        precondition(index < received)
        return unsafe Endpoint(names[index])
    }

    /// The interface on whose link the sender of datagram `index` is, where its address does not say: for
    /// link-local IPv6 addresses. 0 for others.
    public func interface(_ index: Int) -> UInt32 {
        precondition(index < received)
        return unsafe interfaceIndex(names[index])
    }

    /// The local address datagram `index` was sent to, if the socket asked for it.
    public func destination(_ index: Int) -> IPAddress? {
        precondition(index < received)
        let message = unsafe UnsafeMutableRawPointer(headers + index)
            .assumingMemoryBound(to: msghdr.self)
        var item = unsafe ckernel_cmsg_first(message)
        while let current = unsafe item {
            let level = unsafe current.pointee.cmsg_level
            let type = unsafe current.pointee.cmsg_type
            if level == Int32(IPPROTO_IP), type == IP_PKTINFO {
                let info = unsafe UnsafeRawPointer(ckernel_cmsg_data(current))
                    .loadUnaligned(as: ckernel_in_pktinfo.self)
                return .v4(IPv4Address(bits: UInt32(bigEndian: info.ipi_addr.s_addr)))
            }
            if level == Int32(IPPROTO_IPV6), type == IPV6_PKTINFO {
                let info = unsafe UnsafeRawPointer(ckernel_cmsg_data(current))
                    .loadUnaligned(as: ckernel_in6_pktinfo.self)
                return .v6(IPv6Address(info.ipi6_addr))
            }
            unsafe item = ckernel_cmsg_next(message, current)
        }
        return nil
    }
}
