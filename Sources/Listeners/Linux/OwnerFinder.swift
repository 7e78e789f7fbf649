internal import Posix
internal import Sockets
internal import TwinportModel

/// Finds the processes behind sockets, through the links in `/proc/PID/fd`. Needs no privilege for our own
/// processes, root for everybody's; what may not be seen stays unknown. Looks with the rights of the calling process: in
/// both programs that is the finder's (``FinderProcess``).
final class OwnerFinder: ProcessFinder {
    private static let prefix = "socket:["

    private static let mostNetworks = 1_000

    private let containers = ContainerFinder()

    /// The first process found for each inode.
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]? {
        var found: [UInt64: SocketOwner] = [:]
        for pid in SystemFiles.numbers(in: "/proc") where found.count < inodes.count {
            // The number of a process that ended may be another one's at once. Once only are its descriptors read: there
            // may be a million.
            let born = Self.birth(of: pid)
            let sockets = Self.sockets(of: pid).filter { inodes.contains($0) && found[$0] == nil }
            guard !sockets.isEmpty else { continue }
            let owner = describe(pid)
            guard born != nil, Self.birth(of: pid) == born else { continue }
            for inode in sockets { found[inode] = owner }
        }
        return found
    }

    /// The first process in a container of each network that has one of the addresses.
    func owners(at addresses: Set<IPAddress>) -> [IPAddress: SocketOwner]? {
        var found: [IPAddress: SocketOwner] = [:]
        var nets: [String: Set<IPAddress>] = [:]
        if let own = SystemFiles.link("/proc/thread-self/ns/net") { nets[own] = [] }
        for pid in SystemFiles.numbers(in: "/proc").sorted() where found.count < addresses.count {
            guard let net = SystemFiles.link("/proc/\(pid)/ns/net") else { continue }
            if nets[net] == nil {
                guard nets.count < Self.mostNetworks else { continue }
                nets[net] = NetworkFiles.addresses(of: pid).intersection(addresses)
            }
            let missing = (nets[net] ?? []).filter { found[$0] == nil }
            guard !missing.isEmpty else { continue }
            let owner = describe(pid)
            guard owner.container != nil else { continue }
            for address in missing { found[address] = owner }
        }
        return found
    }

    func held(among inodes: Set<UInt64>) -> Set<UInt64>? {
        var found: Set<UInt64> = []
        for pid in SystemFiles.numbers(in: "/proc") where found.count < inodes.count {
            found.formUnion(Self.sockets(of: pid).filter(inodes.contains))
        }
        return found
    }

    func held(among inodes: Set<UInt64>, by pid: Int32) -> Set<UInt64>? {
        Set(Self.sockets(of: Int(pid)).filter(inodes.contains))
    }

    /// The kernel's own processes are in the first PID namespace only, and the descriptors of the first process are
    /// root's.
    func canSeeAll() -> Bool? {
        let isFirst = SystemFiles.text("/proc/2/comm")?.hasPrefix("kthreadd") == true
        return isFirst && !SystemFiles.numbers(in: "/proc/1/fd").isEmpty
    }

    func namespaces(most: Int) -> [ForeignNamespace]? {
        let own = "/proc/thread-self/ns"
        guard let ownNet = SystemFiles.link("\(own)/net"),
            let ownUser = SystemFiles.link("\(own)/user")
        else { return [] }
        var users: Set<String> = [ownUser]
        var nets: Set<String> = [ownNet]
        var found: [ForeignNamespace] = []
        for pid in SystemFiles.numbers(in: "/proc").sorted() where found.count < most {
            guard let user = SystemFiles.link("/proc/\(pid)/ns/user"), !users.contains(user),
                let net = SystemFiles.link("/proc/\(pid)/ns/net")
            else { continue }
            // A program may enter its own network namespace a while after its user namespace.
            guard nets.insert(net).inserted else { continue }
            users.insert(user)
            found.append(ForeignNamespace(name: net, pid: Int32(pid)))
        }
        return found
    }

    /// The sockets that a process holds.
    private static func sockets(of pid: Int) -> [UInt64] {
        SystemFiles.numbers(in: "/proc/\(pid)/fd").compactMap { fd in
            SystemFiles.link("/proc/\(pid)/fd/\(fd)").flatMap(inode(in:))
        }
    }

    private static func inode(in link: String) -> UInt64? {
        guard link.hasPrefix(prefix), link.hasSuffix("]") else { return nil }
        return UInt64(link.dropFirst(prefix.count).dropLast())
    }

    /// A process's name.
    static func command(of pid: Int) -> String {
        printable(SystemFiles.text("/proc/\(pid)/comm") ?? "?")
    }

    private func describe(_ pid: Int) -> SocketOwner {
        let command = Self.command(of: pid)
        var owner = SocketOwner(
            pid: Int32(pid), command: command,
            container: containers.container(of: pid, command: command))
        if owner.isTwinport {
            owner.pair = TwinportPair.text(of: pid, sockets: Set(Self.sockets(of: pid)))
        }
        return owner
    }

    /// When a process was started, the 22nd field of proc(5)'s `stat`. Its name, in parentheses, may hold anything.
    private static func birth(of pid: Int) -> Substring? {
        guard let text = SystemFiles.text("/proc/\(pid)/stat"),
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[end...].split(separator: " ")
        return fields.count > 20 ? fields[20] : nil
    }
}
