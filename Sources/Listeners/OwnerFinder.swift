internal import Posix
internal import Sockets

/// Finds the processes behind sockets, through the links in `/proc/PID/fd`. Needs no privilege for our own
/// processes, root for everybody's; what may not be seen stays unknown.
enum OwnerFinder {
    private static let prefix = "socket:["

    /// The first process found for each inode.
    static func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner] {
        var found: [UInt64: SocketOwner] = [:]
        for pid in SystemFiles.numbers(in: "/proc") {
            for fd in SystemFiles.numbers(in: "/proc/\(pid)/fd") {
                guard let link = SystemFiles.link("/proc/\(pid)/fd/\(fd)"),
                    let inode = inode(in: link), inodes.contains(inode), found[inode] == nil
                else { continue }
                found[inode] = SocketOwner(pid: Int32(pid), command: command(of: pid))
            }
            if found.count == inodes.count { break }
        }
        return found
    }

    private static func inode(in link: String) -> UInt64? {
        guard link.hasPrefix(prefix), link.hasSuffix("]") else { return nil }
        return UInt64(link.dropFirst(prefix.count).dropLast())
    }

    /// A process may call itself anything: only printable ASCII is passed on.
    private static func command(of pid: Int) -> String {
        let name = SystemFiles.text("/proc/\(pid)/comm") ?? "?"
        let bytes = name.utf8.prefix { $0 != UInt8(ascii: "\n") }.prefix(64)
        return String(
            decoding: bytes.map { (33...126).contains($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
    }
}
