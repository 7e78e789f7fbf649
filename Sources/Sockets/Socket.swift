internal import CKernel
package import Posix
package import TwinportModel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A non-blocking, close-on-exec socket of any family with one owner. Every call that moves bytes or
/// changes the socket is here or in a sibling file; all of them repeat when a signal interrupts.
///
/// What differs between systems is in the folder `Linux`: ``SystemCalls``, ``PacketInfo``, ``DatagramBatch``
/// and the families that only Linux has. This module is verified on Linux only, and no other system has a
/// folder yet.
///
/// A result of nil means "would block": watch the descriptor with a `Poller` and try again.
@usableFromInline package struct Socket: ~Copyable, Sendable {
    /// The descriptor, for a `Poller`. Valid while the socket lives.
    @usableFromInline package let descriptor: Int32
    private let fd: OwnedFD

    /// Takes over a descriptor.
    init(taking raw: Int32) {
        descriptor = raw
        fd = OwnedFD(taking: raw)
    }

    /// Creates an unbound socket.
    init(family: Int32, type: Int32) throws(SystemError) {
        self.init(taking: try retrying("socket") { SystemCalls.socket(family, type) })
    }

    /// The number the next descriptor would have; nil when there is none to be had.
    package static var nextDescriptor: Int32? {
        do {
            return try Socket(family: AF_UNIX, type: SystemCalls.stream).descriptor
        } catch {
            return nil
        }
    }

    // MARK: Bytes

    /// Reads at most `limit` bytes into the free part of `buffer`.
    ///
    /// - Returns: How many, 0 at the end of the stream, nil when none are there yet.
    package borrowing func read(
        into buffer: IOBuffer, limit: Int = .max
    ) throws(SystemError) -> Int? {
        let raw = fd.raw
        return try unsafe buffer.fill(limit: limit) { room throws(SystemError) in
            try nonBlocking("recv") { unsafe recv(raw, room.baseAddress, room.count, 0) }
        }
    }

    /// Writes as much of `bytes` as the kernel takes (MSG_NOSIGNAL: a closed peer is an error, not a
    /// signal).
    ///
    /// - Returns: How many bytes it took, nil when it takes none now.
    package borrowing func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int? {
        let raw = fd.raw
        return try nonBlocking("send") {
            unsafe bytes.withUnsafeBytes {
                unsafe send(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
        }
    }

    /// Writes one urgent byte (RFC 6093).
    ///
    /// - Returns: Whether the kernel took it.
    package borrowing func writeUrgent(_ byte: UInt8) throws(SystemError) -> Bool {
        var byte = byte
        let raw = fd.raw
        return try nonBlocking("send") {
            unsafe send(raw, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_OOB))
        } != nil
    }

    /// Takes an urgent byte (RFC 6093) out of band. Its place among the others stays known; see ``isAtMark``.
    ///
    /// - Returns: Nil when there is none.
    package borrowing func takeUrgentByte() -> UInt8? {
        var byte: UInt8 = 0
        let raw = fd.raw
        let count = try? nonBlocking("recv") { unsafe recv(raw, &byte, 1, Int32(MSG_OOB)) }
        // Any error (EINVAL: none there) means the same to the caller.
        return (count ?? nil) == 1 ? byte : nil
    }

    /// Whether the next byte that a read returns is the one behind the urgent byte (sockatmark(3)).
    package var isAtMark: Bool {
        sockatmark(fd.raw) == 1
    }

    // MARK: Ends

    /// Sends FIN; reading goes on.
    package borrowing func shutdownWrite() throws(SystemError) {
        let raw = fd.raw
        try retrying("shutdown") { shutdown(raw, Int32(SHUT_WR)) }
    }

    /// Makes closing send RST and drop unsent bytes (SO_LINGER 0, RFC 9293 §3.10.7 "abort"), also when it is
    /// the kernel that closes because this process was killed. Accepted sockets inherit it.
    package borrowing func resetOnClose() {
        // Fails only on a socket that is dead already.
        try? setOption(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
    }

    /// Makes closing send the unsent bytes and FIN again: undoes ``resetOnClose()``.
    package borrowing func finishOnClose() {
        // Fails only on a socket that is dead already.
        try? setOption(SOL_SOCKET, SO_LINGER, linger(l_onoff: 0, l_linger: 0))
    }

    /// The pending error (SO_ERROR), which this clears; nil if there is none.
    package borrowing func takeError(_ call: String) -> SystemError? {
        guard let code = try? option(SOL_SOCKET, SO_ERROR, as: Int32.self) else {
            return SystemError(call, EBADF)
        }
        return code == 0 ? nil : SystemError(call, code)
    }

    // MARK: Facts

    /// The inode by which the kernel's tables list this socket.
    package borrowing func inode() throws(SystemError) -> UInt64 {
        var info = stat()
        let raw = fd.raw
        try retrying("fstat") { unsafe fstat(raw, &info) }
        return UInt64(info.st_ino)
    }

    /// Where the socket is bound.
    package borrowing func localEndpoint() throws(SystemError) -> Endpoint {
        let raw = fd.raw
        return try unsafe readEndpoint("getsockname") { unsafe getsockname(raw, $0, $1) }
    }

    borrowing func readEndpoint(
        _ call: String,
        _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) throws(SystemError) -> Endpoint {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        try retrying(call) {
            unsafe withUnsafeMutablePointer(to: &storage) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe body($0, &length)
                }
            }
        }
        guard let endpoint = Endpoint(storage) else { throw SystemError(call, EAFNOSUPPORT) }
        return endpoint
    }

    // MARK: Plumbing

    /// Sets an option whose value is a plain structure.
    borrowing func setOption<Value: BitwiseCopyable>(
        _ level: Int32, _ name: Int32, _ value: Value
    ) throws(SystemError) {
        let raw = fd.raw
        try retrying("setsockopt") {
            unsafe withUnsafeBytes(of: value) {
                unsafe setsockopt(raw, level, name, $0.baseAddress, socklen_t($0.count))
            }
        }
    }

    borrowing func option<Value: FixedWidthInteger>(
        _ level: Int32, _ name: Int32, as _: Value.Type
    ) throws(SystemError) -> Value {
        var value: Value = 0
        var length = socklen_t(MemoryLayout<Value>.size)
        let raw = fd.raw
        try retrying("getsockopt") { unsafe getsockopt(raw, level, name, &value, &length) }
        return value
    }

    borrowing func bind(to endpoint: Endpoint) throws(SystemError) {
        let raw = fd.raw
        try retrying("bind") {
            unsafe endpoint.withSockaddr { unsafe Self.bindCall(raw, $0, $1) }
        }
    }

    static func bindCall(
        _ raw: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t
    ) -> Int32 {
        #if canImport(Glibc)
            unsafe Glibc.bind(raw, address, length)
        #else
            unsafe Darwin.bind(raw, address, length)
        #endif
    }

    /// Starts connecting.
    ///
    /// - Returns: Whether the connection stands already; otherwise the socket becomes writable, and
    ///   ``takeError(_:)`` tells how it went.
    borrowing func startConnect(
        _ call: (Int32) -> Int32
    ) throws(SystemError) -> Bool {
        let raw = fd.raw
        do {
            try retrying("connect") { call(raw) }
            return true
        } catch {
            if error.code == EINPROGRESS { return false }
            throw error
        }
    }

    borrowing func startListening(backlog: Int32) throws(SystemError) {
        let raw = fd.raw
        try retrying("listen") { listen(raw, backlog) }
    }
}
