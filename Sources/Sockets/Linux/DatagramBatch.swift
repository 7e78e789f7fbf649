internal import CKernel
internal import Glibc
package import Posix
package import TwinportModel

/// Receives up to 32 datagrams with one system call (recvmmsg(2), which is Linux's).
///
/// One batch serves all UDP sockets of a loop: it holds 32 buffers of 64 KiB, of which only the pages
/// that datagrams filled are ever touched. The received datagrams are valid until the next ``receive(from:limit:)``.
///
/// Datagrams that came as segments of one packet (``Socket/takeSegments()``) lie in one buffer, and are told apart by the
/// size that the kernel names with them.
@safe @usableFromInline package final class DatagramBatch {
    /// The most datagrams one call returns, where those of one packet count as one.
    package static let capacity = 32
    /// The most that it returns in any case. The kernel makes packets of 64 to 128 segments; a virtual device could
    /// make one of 65,507.
    package static let mostDatagrams = 4_096
    /// More than the largest UDP payload (65,507 bytes), so nothing is ever cut.
    private static let slot = 65_536
    private static let controlSize = 128

    private let payloads: UnsafeMutableRawBufferPointer
    private let controls: UnsafeMutableRawBufferPointer
    private let names: UnsafeMutablePointer<sockaddr_storage>
    private let vectors: UnsafeMutablePointer<iovec>
    private let headers: UnsafeMutablePointer<ckernel_mmsghdr>
    private let places: UnsafeMutablePointer<Place>
    private var received = 0
    /// How many packets the last call took from the kernel.
    package private(set) var packetCount = 0
    /// How many datagrams of the last call were passed over, beyond ``mostDatagrams``.
    package private(set) var excess = 0
    /// How many bytes the payloads of the last call have, all together.
    package private(set) var byteCount = 0

    /// Where a datagram lies.
    private struct Place {
        var slot: Int32
        var start: Int32
        var size: Int32
    }

    /// Allocates the buffers.
    package init() {
        let capacity = Self.capacity
        unsafe payloads = .allocate(byteCount: capacity * Self.slot, alignment: 64)
        unsafe controls = .allocate(byteCount: capacity * Self.controlSize, alignment: 8)
        unsafe names = .allocate(capacity: capacity)
        unsafe names.initialize(repeating: sockaddr_storage(), count: capacity)
        unsafe vectors = .allocate(capacity: capacity)
        unsafe places = .allocate(capacity: Self.mostDatagrams)
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
        unsafe places.deallocate()
    }

    /// Receives the waiting datagrams, at most `limit` packets.
    ///
    /// - Returns: How many datagrams came, nil when none wait.
    /// - Throws: ``SystemError``: an ICMP error of a connected socket arrives here.
    package func receive(
        from socket: borrowing Socket, limit: Int = capacity
    ) throws(SystemError) -> Int? {
        let limit = max(1, min(limit, Self.capacity))
        // The kernel changed those it filled; the one after them is where it may have failed.
        for index in 0..<min(packetCount + 1, Self.capacity) { prepare(index) }
        let raw = socket.descriptor
        (received, packetCount, excess, byteCount) = (0, 0, 0, 0)
        let count = try nonBlocking("recvmmsg") {
            unsafe ckernel_recvmmsg(raw, headers, UInt32(limit))
        }
        guard let count else { return nil }
        packetCount = Int(count)
        for slot in 0..<packetCount {
            let length = unsafe min(Int(headers[slot].msg_len), Self.slot)
            cut(slot, length, every: segmentSize(slot) ?? length)
        }
        return received
    }

    /// Finds the datagrams of a packet of `length` bytes. An empty packet is one empty datagram; `segment` is 0 only
    /// then.
    func cut(_ slot: Int, _ length: Int, every segment: Int) {
        var start = 0
        repeat {
            guard received < Self.mostDatagrams else {
                return excess += max(1, (length - start + segment - 1) / max(segment, 1))
            }
            let size = min(segment, length - start)
            unsafe places[received] = Place(
                slot: Int32(slot), start: Int32(start), size: Int32(size))
            received += 1
            byteCount += size
            start += size
        } while start < length
    }

    /// At every how many bytes a packet is to be cut, nil if it is one datagram.
    private func segmentSize(_ slot: Int) -> Int? {
        guard unsafe headers[slot].msg_hdr.msg_controllen > 0 else { return nil }
        let message = unsafe UnsafeMutableRawPointer(headers + slot)
            .assumingMemoryBound(to: msghdr.self)
        guard let size = unsafe ControlMessage.find(Segments.level, Segments.joining, in: message)
        else { return nil }
        return size > 0 ? Int(size) : nil
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
        let place = unsafe places[index]
        let start = Int(place.slot) * Self.slot + Int(place.start)
        let bytes = unsafe UnsafeRawBufferPointer(payloads)[start..<(start + Int(place.size))]
        return unsafe UnsafeRawBufferPointer(rebasing: bytes).bindMemory(to: UInt8.self)
    }

    private func slot(of index: Int) -> Int {
        precondition(index < received)
        return unsafe Int(places[index].slot)
    }

    /// Whether datagram `index` came in one packet with the one before it: it has the same sender and destination.
    package func isFollower(_ index: Int) -> Bool {
        index > 0 && slot(of: index) == slot(of: index - 1)
    }

    /// The sender of datagram `index`; nil for a connected socket or an unknown family.
    package func sender(_ index: Int) -> Endpoint? {
        unsafe Endpoint(names[slot(of: index)])
    }

    /// The interface on whose link the sender of datagram `index` is, where its address does not say: for
    /// link-local IPv6 addresses. 0 for others.
    package func interface(_ index: Int) -> UInt32 {
        unsafe interfaceIndex(names[slot(of: index)])
    }

    /// The local address from which datagram `index` is to be answered, if the socket asked for it.
    package func destination(_ index: Int) -> IPAddress? {
        unsafe PacketInfo.destination(
            in: UnsafeMutableRawPointer(headers + slot(of: index))
                .assumingMemoryBound(to: msghdr.self))
    }
}

extension Socket {
    /// Takes datagrams that travel as segments of one packet as they come, instead of having the kernel cut them first
    /// (UDP_GRO, udp(7)): a stream of them then costs a small part of it.
    package borrowing func takeSegments() {
        // Linux before 5.0 does not know it; its datagrams come one by one.
        try? setOption(Segments.level, Segments.joining, Int32(1))
    }
}
