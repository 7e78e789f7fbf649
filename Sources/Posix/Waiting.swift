#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Waits for descriptors, and can be woken. For what lives outside of an event loop; it needs no descriptor but
/// the two that it is made with.
public final class DescriptorWaiter: Sendable {
    /// What is waited for, or what came.
    public struct Readiness: Sendable {
        /// The descriptor.
        public var descriptor: Int32
        /// Data, an end, or a connection to accept.
        public var canRead: Bool
        /// Room to write, or a finished connect.
        public var canWrite: Bool
        /// It has failed, or is not open at all. Reported only.
        public var hasFailed = false

        /// Joins a descriptor and what is waited for.
        public init(_ descriptor: Int32, canRead: Bool, canWrite: Bool) {
            self.descriptor = descriptor
            self.canRead = canRead
            self.canWrite = canWrite
        }
    }

    private let reader: OwnedFD
    private let writer: OwnedFD

    /// Makes a waiter.
    ///
    /// - Throws: ``SystemError`` when no descriptors are left.
    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try retrying("pipe") { unsafe pipe(&ends) }
        reader = OwnedFD(taking: ends[0])
        writer = OwnedFD(taking: ends[1])
        for end in ends {
            try retrying("fcntl") { fcntl(end, F_SETFD, FD_CLOEXEC) }
            try retrying("fcntl") { fcntl(end, F_SETFL, O_NONBLOCK) }
        }
    }

    /// Lets ``wait(for:)`` return, the one that waits now or the next one. Any thread.
    public func wake() {
        var byte: UInt8 = 1
        // A full pipe wakes as well.
        _ = unsafe systemWrite(writer.raw, &byte, 1)
    }

    /// Blocks until something is ready, or ``wake()`` is called.
    ///
    /// - Returns: What is ready, nothing when woken.
    public func wait(for wanted: [Readiness]) throws(SystemError) -> [Readiness] {
        var entries = wanted.map { one in
            pollfd(
                fd: one.descriptor,
                events: Int16((one.canRead ? POLLIN : 0) | (one.canWrite ? POLLOUT : 0)),
                revents: 0)
        }
        entries.append(pollfd(fd: reader.raw, events: Int16(POLLIN), revents: 0))
        try retrying("poll") { unsafe poll(&entries, nfds_t(entries.count), -1) }
        if let woken = entries.popLast(), woken.revents != 0 { drain() }
        return entries.compactMap { entry in
            let came = Int32(entry.revents)
            guard came != 0 else { return nil }
            // What hung up can be read to its end.
            var one = Readiness(
                entry.fd, canRead: came & (POLLIN | POLLHUP) != 0, canWrite: came & POLLOUT != 0)
            one.hasFailed = came & (POLLERR | POLLNVAL) != 0
            return one
        }
    }

    private func drain() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while unsafe systemRead(reader.raw, &bytes, bytes.count) == bytes.count {}
    }
}
