#if canImport(Glibc)
    internal import Glibc

    private let systemBothWays = Int32(SHUT_RDWR)
#elseif canImport(Darwin)
    internal import Darwin

    private let systemBothWays = SHUT_RDWR
#endif

/// One end of a connection between two processes of ours that keeps messages apart (SOCK_SEQPACKET). Calls block.
package final class PacketPipe: Sendable {
    /// What came.
    package enum Received: Equatable, Sendable {
        /// A message.
        case packet([UInt8])
        /// Nothing within the time.
        case nothing
        /// The other process is gone.
        case ended
    }

    private let descriptor: OwnedFD

    /// The descriptor, for calls that this type does not have. It stays the pipe's.
    package var raw: Int32 { descriptor.raw }

    /// Takes over a descriptor.
    package init(_ descriptor: consuming OwnedFD) {
        self.descriptor = descriptor
    }

    /// Sends a message, not an empty one.
    ///
    /// - Parameter milliseconds: How long it may wait for room; nil: for ever.
    /// - Returns: False when there was no room, or nobody is there.
    package func send(_ bytes: [UInt8], within milliseconds: Int32? = nil) -> Bool {
        guard isReady(POLLOUT, milliseconds) else { return false }
        let raw = descriptor.raw
        let count = try? retrying("write") { unsafe systemWrite(raw, bytes, bytes.count) }
        return count == bytes.count
    }

    /// Waits for a message. What is longer than `limit` is cut off.
    ///
    /// - Parameter milliseconds: How long; nil: for ever.
    package func receive(limit: Int, within milliseconds: Int32? = nil) -> Received {
        guard isReady(POLLIN, milliseconds) else { return .nothing }
        let raw = descriptor.raw
        var bytes = [UInt8](repeating: 0, count: limit)
        guard let count = try? retrying("read", { unsafe systemRead(raw, &bytes, limit) }),
            count > 0
        else { return .ended }
        return .packet(Array(bytes[..<count]))
    }

    /// Whether either process is done. Does not block.
    package var isEnded: Bool {
        var awaited = pollfd(fd: descriptor.raw, events: 0, revents: 0)
        let count = try? retrying("poll") { unsafe poll(&awaited, 1, 0) }
        return (count ?? 1) > 0 && Int32(awaited.revents) & Int32(POLLHUP) != 0
    }

    /// Tells the other process that this one is done.
    package func end() {
        _ = shutdown(descriptor.raw, systemBothWays)
    }

    /// Waits until one of these has a message, or ended.
    ///
    /// - Returns: Their places.
    package static func awaitAny(_ pipes: [PacketPipe]) -> [Int] {
        var awaited = pipes.map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
        _ = try? retrying("poll") { unsafe poll(&awaited, nfds_t(awaited.count), -1) }
        return awaited.indices.filter { awaited[$0].revents != 0 }
    }

    private func isReady(_ what: Int32, _ milliseconds: Int32?) -> Bool {
        var awaited = pollfd(fd: descriptor.raw, events: Int16(what), revents: 0)
        let count = try? retrying("poll") { unsafe poll(&awaited, 1, milliseconds ?? -1) }
        return (count ?? 1) > 0
    }
}
