internal import CKernel
internal import Glibc
package import Posix
package import TwinportModel

/// Receives up to 32 datagrams with one system call (recvmmsg(2), which is Linux's).
///
/// One batch serves all UDP sockets of a loop: it holds 32 buffers of 64 KiB, of which only the pages
/// that datagrams filled are ever touched. The received datagrams are valid until the next ``receive(from:limit:)``.
@safe @usableFromInline package final class DatagramBatch {
    /// The most datagrams one call returns.
    package static let capacity = 32
    /// More than the largest UDP payload (65,507 bytes), so nothing is ever cut.
    private static let slot = 65_536
    private static let controlSize = 96

    private let payloads: UnsafeMutableRawBufferPointer
    private let controls: UnsafeMutableRawBufferPointer
    private let names: UnsafeMutablePointer<sockaddr_storage>
    private let vectors: UnsafeMutablePointer<iovec>
    private let headers: UnsafeMutablePointer<ckernel_mmsghdr>
    private var received = 0
    /// How many bytes the payloads of the last call have, all together.
    package private(set) var byteCount = 0

    /// Allocates the buffers.
    package init() {
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

    /// Receives the waiting datagrams, at most `limit`.
    ///
    /// - Returns: How many datagrams came, nil when none wait.
    /// - Throws: ``SystemError``: an ICMP error of a connected socket arrives here.
    package func receive(
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
    ///
    /// Inlined into its callers, as ``IOBuffer/withReadable(_:)``.
    @inlinable package func withPayload<Result>(
        _ index: Int, _ body: (Span<UInt8>) -> Result
    ) -> Result {
        unsafe body(payload(index).span)
    }

    @unsafe @usableFromInline func payload(_ index: Int) -> UnsafeBufferPointer<UInt8> {
        precondition(index < received)
        let length = unsafe min(Int(headers[index].msg_len), Self.slot)
        let bytes = unsafe UnsafeRawBufferPointer(payloads)[
            (index * Self.slot)..<(index * Self.slot + length)]
        return unsafe UnsafeRawBufferPointer(rebasing: bytes).bindMemory(to: UInt8.self)
    }

    /// The sender of datagram `index`; nil for a connected socket or an unknown family.
    package func sender(_ index: Int) -> Endpoint? {
        precondition(index < received)
        return unsafe Endpoint(names[index])
    }

    /// The interface on whose link the sender of datagram `index` is, where its address does not say: for
    /// link-local IPv6 addresses. 0 for others.
    package func interface(_ index: Int) -> UInt32 {
        precondition(index < received)
        return unsafe interfaceIndex(names[index])
    }

    /// The local address from which datagram `index` is to be answered, if the socket asked for it.
    package func destination(_ index: Int) -> IPAddress? {
        precondition(index < received)
        return unsafe PacketInfo.destination(
            in: UnsafeMutableRawPointer(headers + index).assumingMemoryBound(to: msghdr.self))
    }
}
