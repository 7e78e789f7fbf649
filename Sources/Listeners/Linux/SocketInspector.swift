internal import Posix
internal import Sockets
internal import TwinportModel

// # What only looks like a listener
//
//   bound to a device    idiag_if of sock_diag. Bound to `lo`, it is a loopback listener; bound to another device or
//                        to a VRF, nothing but what arrives there reaches it, and a dial of ours does not.
//   a kernel's tunnel    a UDP wildcard socket. rtnetlink tells the ports of VXLAN, GENEVE and bareudp. The others
//                        (WireGuard, L2TP, FOU) are known by this: no process holds the socket. That takes a look at
//                        all processes, so only root can tell, and only for sockets of root, as the kernel's are.
//                        Two looks must agree: one of them can miss a process that starts another.
//   a port to share      a UDP wildcard socket with SO_REUSEADDR, as programs that use multicast have it. No table
//                        says so; whether another such socket could be bound does (`Socket.portIsShared`). A BPF program
//                        that sees bind(2) could tell it, too: it would fill in `Inspection.traits.sharesPort`.
//
// A socket is looked at once, when it first counts as a listener.

/// Finds out what a socket is beside its row. Owned by the watcher's thread.
final class SocketInspector {
    private static let mostKnown = 20_000
    private static let mostBinders = 64
    /// Looks at all processes: so many at once, and so long until the next, in milliseconds.
    private static let looksAtOnce = 4
    private static let lookEvery: UInt64 = 500
    /// A look is followed by so many times its length without one.
    private static let quietFor: UInt64 = 20

    private let finder: any ProcessFinder
    private let linkTable = Links()
    private var known: [UInt64: Known] = [:]
    private var forgottenAt: Instant?
    private var processes = Processes()

    init(finder: any ProcessFinder) {
        self.finder = finder
    }

    /// What was found, while the socket was bound to this device: that may come after bind(2).
    private struct Known {
        let device: UInt32
        let inspection: Inspection
    }

    /// What is known of who holds sockets of root.
    private struct Processes {
        /// Those that bound UDP sockets lately, as the kernel told: looked at first, and at no great price.
        var binders: Set<Int32> = []
        var held: Set<UInt64> = []
        /// How often nobody was found to hold it.
        var missed: [UInt64: Int] = [:]
        var looks = SocketInspector.looksAtOnce
        var refilledAt: Instant?
        var lookedAt: Instant?
        var quietUntil = Instant(milliseconds: 0)
        /// Whether every process can be seen; nil before it was tried.
        var canSeeAll: Bool?
    }

    /// Looks at a socket.
    ///
    /// - Parameters:
    ///   - isServer: Whether its port may be bound once more for a moment, to see who may share it. At a port that the
    ///     kernel chose that would look as if a program had asked for it.
    ///   - all: All rows of the scan: those that need a look at the processes share it.
    /// - Returns: Nil when it is not known yet.
    func inspect(
        _ row: SocketRow, isServer: Bool, among all: [SocketRow], at now: Instant
    ) -> Inspection? {
        if row.isForeign { return Inspection(traits: .init(obstacle: .otherNamespace)) }
        if row.state == SocketRow.boundInactive, row.kind == .tcp {
            return Inspection(traits: .init(obstacle: .notListening))
        }
        let isPlain = row.device == 0 && !(row.kind == .udp && row.endpoint.address.isWildcard)
        if row.kind.transport == nil || isPlain { return Inspection() }
        if let last = known[row.inode], last.device == row.device { return last.inspection }
        guard let inspection = look(at: row, isServer, among: all, now) else { return nil }
        forgetGone(all, now)
        known[row.inode] = Known(device: row.device, inspection: inspection)
        return inspection
    }

    /// What is known of sockets that are gone goes when it is much, once a scan.
    private func forgetGone(_ all: [SocketRow], _ now: Instant) {
        guard known.count >= Self.mostKnown, forgottenAt != now else { return }
        forgottenAt = now
        let present = Set(all.map(\.inode))
        known = known.filter { present.contains($0.key) }
    }

    private func links(at now: Instant) -> [NetworkLink] { linkTable?.all(at: now) ?? [] }

    private func look(
        at row: SocketRow, _ isServer: Bool, among all: [SocketRow], _ now: Instant
    ) -> Inspection? {
        var inspection = Inspection()
        let address = row.endpoint.address
        if row.device != 0, address.isWildcard || address.isLoopback {
            let link = links(at: now).first { $0.index == row.device }
            if link?.isLoopback == true {
                inspection.isOnLoopbackDevice = true
            } else {
                inspection.traits.obstacle = .boundToDevice(link?.name ?? "\(row.device)")
            }
            return inspection
        }
        guard row.kind == .udp, address.isWildcard else { return inspection }
        switch kernelSocket(row, among: all, now) {
        case .no: break
        case .unknown: return nil
        case .yes(let name):
            inspection.traits.obstacle = .kernelSocket(name)
            return inspection
        }
        guard isServer else { return inspection }
        let isShared = Socket.portIsShared(row.endpoint, isV6Only: row.isV6Only == true)
        inspection.traits.sharesPort = isShared == true
        return inspection
    }

    // MARK: Tunnels of the kernel

    private enum KernelSocket {
        case no
        case yes(interface: String)
        case unknown
    }

    private func kernelSocket(
        _ row: SocketRow, among all: [SocketRow], _ now: Instant
    ) -> KernelSocket {
        guard row.uid == 0 else { return .no }
        if let link = links(at: now).first(where: { $0.port == row.endpoint.port }) {
            return .yes(interface: link.name)
        }
        guard canSeeAll() else { return .no }
        askBinders(all)
        if processes.held.contains(row.inode) { return .no }
        findHolders(of: row, among: all, now)
        if processes.held.contains(row.inode) { return .no }
        guard processes.missed[row.inode, default: 0] > 1 else { return .unknown }
        let opaque = links(at: now).filter { NetworkLink.opaqueTunnels.contains($0.kind) }
        return .yes(interface: opaque.count == 1 ? opaque[0].name : "")
    }

    /// Whether every process of the machine can be seen.
    private func canSeeAll() -> Bool {
        if let known = processes.canSeeAll { return known }
        processes.canSeeAll = finder.canSeeAll()
        return processes.canSeeAll ?? false
    }

    /// Notes what the kernel told.
    func note(_ events: [SocketEvent]) {
        for case .bound(.udp, _, _, let process?, byRoot: true) in events
        where processes.binders.count < Self.mostBinders {
            processes.binders.insert(process)
        }
    }

    /// Which of root's sockets the processes hold that bound something.
    private func askBinders(_ all: [SocketRow]) {
        guard !processes.binders.isEmpty else { return }
        let wanted = questionable(all)
        for process in processes.binders {
            processes.held.formUnion(finder.held(among: wanted, by: process) ?? [])
        }
        processes.binders = []
    }

    /// Root's UDP wildcard sockets of which nothing is known yet.
    private func questionable(_ all: [SocketRow]) -> Set<UInt64> {
        let rows = all.filter { other in
            other.kind == .udp && other.uid == 0 && other.endpoint.address.isWildcard
                && other.state == SocketRow.unconnected && other.endpoint.port != 0
                && known[other.inode] == nil
        }
        return Set(rows.map(\.inode))
    }

    /// Looks for the processes behind all of root's UDP wildcard sockets of which nothing is known yet, unless that was
    /// done too often lately.
    private func findHolders(of row: SocketRow, among all: [SocketRow], _ now: Instant) {
        guard processes.lookedAt != now, now >= processes.quietUntil,
            !processes.held.contains(row.inode)
        else { return }
        let refills = processes.refilledAt.map { Int(now.since($0) / Self.lookEvery) } ?? 1
        if refills > 0 {
            processes.looks = min(Self.looksAtOnce, processes.looks + min(refills, 8))
            processes.refilledAt = now
        }
        guard processes.looks > 0 else { return }
        processes.looks -= 1
        processes.lookedAt = now
        let inodes = questionable(all)
        let begin = ThisMachine.threadTime
        let found = finder.held(among: inodes)
        // Somebody may have a million descriptors.
        let took = (ThisMachine.threadTime &- begin) / 1_000_000
        processes.quietUntil = now + took * Self.quietFor
        guard let found else { return }
        processes.held = found
        processes.missed = processes.missed.filter { inodes.contains($0.key) }
        for inode in inodes.subtracting(found) { processes.missed[inode, default: 0] += 1 }
    }
}
