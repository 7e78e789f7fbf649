import Posix
import Sockets
import Tunnel

/// A link whose other end is the script.
final class MemoryLink: Link {
    var incoming: [UInt8] = []
    private(set) var written = 0
    var outgoing: [UInt8] = []
    var keepsOutgoing = false
    /// How many more bytes a write takes.
    var capacity = Int.max
    var isPeerClosed = false
    private(set) var isClosed = false

    func read(into buffer: IOBuffer) throws(LinkError) -> Int? {
        if incoming.isEmpty { return isPeerClosed ? 0 : nil }
        let count = min(buffer.space, incoming.count)
        if count == incoming.count {
            buffer.append(incoming)
            incoming.removeAll(keepingCapacity: true)
        } else {
            buffer.append(Array(incoming[..<count]))
            incoming.removeFirst(count)
        }
        return count
    }

    func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int? {
        require(!isClosed, "a write after close")
        if isPeerClosed { throw .system(SystemError("send", 32)) }
        let count = min(capacity, bytes.count)
        guard count > 0 else { return nil }
        if keepsOutgoing { for index in 0..<count { outgoing.append(bytes[index]) } }
        written += count
        if capacity != .max { capacity -= count }
        return count
    }

    func watchWritable(_ isWanted: Bool) {}
    func attach(_ owner: any LinkOwner) {}
    func close() { isClosed = true }
}
