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
            var owner: SocketOwner?
            for fd in SystemFiles.numbers(in: "/proc/\(pid)/fd") {
                guard let link = SystemFiles.link("/proc/\(pid)/fd/\(fd)"),
                    let inode = inode(in: link), inodes.contains(inode), found[inode] == nil
                else { continue }
                let known = owner ?? describe(pid)
                owner = known
                found[inode] = known
            }
            if found.count == inodes.count { break }
        }
        return found
    }

    private static func inode(in link: String) -> UInt64? {
        guard link.hasPrefix(prefix), link.hasSuffix("]") else { return nil }
        return UInt64(link.dropFirst(prefix.count).dropLast())
    }

    private static func describe(_ pid: Int) -> SocketOwner {
        let command = printable(SystemFiles.text("/proc/\(pid)/comm") ?? "?")
        return SocketOwner(
            pid: Int32(pid), command: command,
            container: ContainerFinder.container(of: pid, command: command))
    }
}
