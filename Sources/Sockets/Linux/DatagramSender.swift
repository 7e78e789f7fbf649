internal import CKernel
internal import Glibc
package import Posix
package import TwinportModel

// # Several datagrams in one call
//
// A datagram costs its sender two things: a system call, and a way through the kernel's network layers to the socket of
// the receiver, which is the larger one. UDP_SEGMENT (Linux 4.18, udp(7)) spares both: datagrams of one size, of
// which the last one may be shorter, go that way as one packet, and become datagrams again in front of the receiver's
// socket, or in the network card. Datagrams of other sizes share the call at least (sendmmsg(2)).
//
//     sizes of a run      8 8 8 8 3 │ 0 │ 9 9 │ 12
//     messages            8+8+8+8+3   0   9+9   12         one sendmmsg(2)
//
// The kernel refuses segments that do not fit into a packet of the way to the receiver, because fragments cannot be
// segments; and all of them on a way through IPsec. Datagrams of that size then leave one by one, as they always did, and
// ``SegmentLimit`` remembers it for the next ones.

/// Up to which size the datagrams of one exchange may leave as segments.
package struct SegmentLimit {
    fileprivate(set) var largest = 65_535

    /// Nothing is known of the way yet.
    package init() {}
}

/// Where the datagrams of a socket that is not connected go.
package struct DatagramWay {
    /// Of the socket's family (an IPv4 peer of a dual-stack socket is mapped).
    let peer: Endpoint
    /// The local address to send from, nil to let the kernel choose.
    let source: IPAddress?
    /// The interface on whose link a link-local peer is, 0 for others.
    let interface: UInt32

    /// Describes a way.
    package init(to peer: Endpoint, from source: IPAddress?, interface: UInt32 = 0) {
        self.peer = peer
        self.source = source
        self.interface = interface
    }
}

/// Sends datagrams that lie in a buffer with as few system calls as they take. One serves all sockets of a loop.
@safe package final class DatagramSender {
    /// The most segments of a message: Linux before 6.9 takes no more.
    private static let mostSegments = 64
    /// The most bytes of a message. A packet of IPv6 holds 65,487.
    private static let mostBytes = 65_000
    private static let controlSize = 96

    private let isSegmenting: Bool
    private let vectors: UnsafeMutablePointer<iovec>
    private let headers: UnsafeMutablePointer<ckernel_mmsghdr>
    private let controls: UnsafeMutableRawBufferPointer
    private let name: UnsafeMutablePointer<sockaddr_storage>
    private var nameLength: socklen_t = 0
    /// How many messages were laid out.
    private var messages = 0

    /// Allocates what a full run takes.
    ///
    /// - Parameter segmenting: False to send every datagram as a message of its own. Where the kernel knows no
    ///   segments (setsockopt(2) refuses them) that is so anyway: it would pass over them and send one large datagram.
    package init(segmenting: Bool = true) {
        isSegmenting = segmenting && Self.isSupported
        unsafe vectors = .allocate(capacity: DatagramRun.capacity)
        unsafe headers = .allocate(capacity: DatagramRun.capacity)
        unsafe controls = .allocate(
            byteCount: DatagramRun.capacity * Self.controlSize, alignment: 8)
        unsafe name = .allocate(capacity: 1)
        unsafe name.initialize(to: sockaddr_storage())
    }

    private static var isSupported: Bool {
        do {
            let socket = try Socket(family: AF_INET, type: SystemCalls.datagram)
            try socket.setOption(Segments.level, Segments.size, Int32(0))
            return true
        } catch {
            return false
        }
    }

    deinit {
        unsafe vectors.deallocate()
        unsafe headers.deallocate()
        unsafe controls.deallocate()
        unsafe name.deallocate()
    }

    /// Sends the datagrams of `run`, which lie in `bytes`, in their order. What the kernel does not take is dropped.
    ///
    /// - Parameters:
    ///   - way: Where to; nil on a connected socket.
    ///   - limit: What is known of the way.
    /// - Returns: How many were sent, and the error when an earlier datagram met a closed port (`isRefused`): the rest
    ///   of the run was then not sent.
    package func send(
        _ run: DatagramRun, of bytes: Span<UInt8>, through socket: borrowing Socket,
        _ way: DatagramWay? = nil, _ limit: inout SegmentLimit
    ) -> (sent: Int, error: SystemError?) {
        let raw = socket.descriptor
        let known = limit
        setName(way)
        return unsafe bytes.withUnsafeBytes { (bytes) -> (sent: Int, error: SystemError?) in
            var (done, sent) = (0, 0)
            while done < run.count {
                unsafe layOut(run, from: done, of: bytes, way, limit)
                let step = leave(raw, &limit)
                done += step.done
                sent += step.sent
                if let error = step.error { return (sent, error) }
            }
            // If they do not leave one by one either, it was not for their size as segments.
            if sent == 0 { limit = known }
            return (sent, nil)
        }
    }

    private func setName(_ way: DatagramWay?) {
        nameLength = 0
        guard let way else { return }
        nameLength = unsafe way.peer.withSockaddr(interface: way.interface) { address, length in
            unsafe memcpy(name, address, Int(length))
            return length
        }
    }

    // MARK: Messages

    @unsafe private func layOut(
        _ run: DatagramRun, from first: Int, of bytes: UnsafeRawBufferPointer, _ way: DatagramWay?,
        _ limit: SegmentLimit
    ) {
        messages = 0
        var index = first
        while index < run.count {
            let end = endOfMessage(run, from: index, limit)
            for place in index..<end {
                unsafe vectors[place] = iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress)
                        .map { unsafe $0 + run[place].lowerBound },
                    iov_len: run[place].count)
            }
            add(index..<end, segment: end - index > 1 ? run[index].count : nil, way)
            index = end
        }
    }

    /// Where the message ends that begins with datagram `first`.
    private func endOfMessage(
        _ run: DatagramRun, from first: Int, _ limit: SegmentLimit
    ) -> Int {
        let size = run[first].count
        guard isSegmenting, size > 0, size <= limit.largest else { return first + 1 }
        var end = first + 1
        var total = size
        while end < min(run.count, first + Self.mostSegments) {
            let next = run[end].count
            guard next > 0, next <= size, total + next <= Self.mostBytes else { break }
            total += next
            end += 1
            if next < size { break }
        }
        return end
    }

    private func add(_ datagrams: Range<Int>, segment: Int?, _ way: DatagramWay?) {
        let control = unsafe controls.baseAddress! + messages * Self.controlSize
        unsafe headers[messages].msg_len = 0
        unsafe headers[messages].msg_hdr = msghdr(
            msg_name: nameLength > 0 ? UnsafeMutableRawPointer(name) : nil, msg_namelen: nameLength,
            msg_iov: vectors + datagrams.lowerBound, msg_iovlen: datagrams.count,
            msg_control: control, msg_controllen: 0, msg_flags: 0)
        let message = unsafe UnsafeMutableRawPointer(headers + messages)
            .assumingMemoryBound(to: msghdr.self)
        if let way, let source = way.source {
            unsafe PacketInfo.append(source, for: way.peer, to: message)
        }
        if let segment {
            unsafe ControlMessage.append(
                Segments.level, Segments.size, UInt16(segment), to: message)
        }
        messages += 1
    }

    // MARK: Calls

    /// Sends the messages that were laid out, up to the first whose segments the kernel refuses.
    ///
    /// - Returns: How many datagrams are done with, and how many of them were sent; the error of a closed port.
    private func leave(
        _ raw: Int32, _ limit: inout SegmentLimit
    ) -> (done: Int, sent: Int, error: SystemError?) {
        var (next, done, sent) = (0, 0, 0)
        var failed: Int?
        while next < messages {
            do {
                let count = try nonBlocking("sendmmsg") {
                    unsafe ckernel_sendmmsg(raw, headers + next, UInt32(messages - next))
                }
                // There is no room for the rest.
                guard let count else { return (done + size(of: next..<messages), sent, nil) }
                let taken = size(of: next..<(next + Int(count)))
                (next, done, sent) = (next + Int(count), done + taken, sent + taken)
            } catch {
                if error.isRefused { return (done, sent, error) }
                let datagrams = size(of: next..<(next + 1))
                // It may be an earlier datagram's, which whatever call comes next is told.
                if datagrams > 1, failed != next {
                    failed = next
                } else if datagrams > 1, lower(&limit, at: next, error) {
                    return (done, sent, nil)
                } else {
                    (next, done) = (next + 1, done + datagrams)
                }
            }
        }
        return (done, sent, nil)
    }

    /// How many datagrams some messages have.
    private func size(of messages: Range<Int>) -> Int {
        messages.reduce(0) { unsafe $0 + Int(headers[$1].msg_hdr.msg_iovlen) }
    }

    /// Remembers that a message was too large for segments, if that is what the error says.
    private func lower(
        _ limit: inout SegmentLimit, at message: Int, _ error: SystemError
    ) -> Bool {
        let size = unsafe Int(headers[message].msg_hdr.msg_iov[0].iov_len)
        switch error.code {
        case EMSGSIZE, EINVAL: limit.largest = size - 1
        case EIO, EOPNOTSUPP: limit.largest = 0
        default: return false
        }
        return true
    }
}
