import Posix
import Sockets
import Tunnel

/// Two links joined by memory. Bytes move when `Pair.settle` says so; capacity and cuts are the test's.
final class MemoryLink: Link {
    var outgoing: [UInt8] = []
    /// Everything that was written, while somebody wants it.
    var record: [UInt8]?
    var incoming: [UInt8] = []
    /// How many more bytes a write takes.
    var capacity = Int.max
    var isClosed = false
    var isPeerClosed = false
    /// What a read ends with, once everything is read.
    var failure: LinkError?
    var wantsWritable = false
    weak var owner: (any LinkOwner)?

    func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        if incoming.isEmpty, let failure {
            self.failure = nil
            isPeerClosed = true
            throw failure
        }
        if incoming.isEmpty { return isPeerClosed ? 0 : nil }
        let count = min(buffer.readSpace, incoming.count)
        buffer.append(Array(incoming[..<count]))
        incoming.removeFirst(count)
        return count
    }

    func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        if isPeerClosed { throw .system(SystemError("send", 32)) }
        let count = min(capacity, bytes.count)
        guard count > 0 else { return nil }
        for index in 0..<count { outgoing.append(bytes[index]) }
        record? += outgoing.suffix(count)
        if capacity != .max { capacity -= count }
        return count
    }

    func watchWritable(_ isWanted: Bool) { wantsWritable = isWanted }
    func attach(_ owner: any LinkOwner) { self.owner = owner }
    func close() { isClosed = true }
}
