internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// What listens, from /proc, sock_diag, the kernel's own account and netlink.
final class LinuxListeners: ListenerSource {
    private let scanner: Scanner
    private let ring: SocketEventRing?
    private let finder: any ProcessFinder
    private let inspector: SocketInspector
    private let rules: PublishedSource
    private var last: [SocketRow] = []
    private var hints: Hints?

    /// Reads the tables of the calling thread's namespace.
    ///
    /// - Parameters:
    ///   - signal: What ``openSignal()`` gave.
    ///   - finder: The process that looks into others; nil: this one does.
    init(signal: (any ListenerSignal)?, finder: FinderProcess? = nil) {
        ring = signal as? SocketEventRing
        let finder: any ProcessFinder = finder ?? OwnerFinder()
        self.finder = finder
        inspector = SocketInspector(finder: finder)
        scanner = Scanner(finder: finder)
        rules = PublishedSource(finder: finder)
    }

    /// Asks the kernel to give an account of the sockets of the calling thread's namespace. Call it before the
    /// process gives up its privileges.
    static func openSignal() -> (signal: (any ListenerSignal)?, state: HintState) {
        do {
            return (try SocketEventRing(), .kernel)
        } catch {
            return (nil, .none(why(error)))
        }
    }

    private static func why(_ error: SystemError) -> String {
        if error.isPermissionDenied { return "needs root" }
        if error.isOutsideOfRoot {
            return "runs in a control group namespace, and sees only its own sockets"
        }
        return "the kernel lacks what it takes (Linux 5.10 with CONFIG_CGROUP_BPF): \(error)"
    }

    var hasChanged: Bool { scanner.hasChanged }

    var looksElsewhere: Bool {
        get { scanner.looksElsewhere }
        set { scanner.looksElsewhere = newValue }
    }

    var tellsOfListen: Bool { hints?.tellsOfListen == true }

    func rows(at now: Instant, reusingTCP: Bool) throws(ScanFailure) -> [SocketRow] {
        last = try scanner.scan(at: now, reusingTCP: reusingTCP)
        return last
    }

    func published(at now: Instant) -> [Listener]? {
        looksElsewhere ? rules.refresh(at: now) : nil
    }

    var publishedState: String { rules.state }

    /// ``publishedState`` as far as it can be told at once, of the calling thread's namespace: empty or `none: ` and why.
    static func tryRules() -> String {
        guard case .refused(let why) = RuleReader().nftables() else { return "" }
        return "none: \(why)"
    }

    func inspect(_ row: SocketRow, isServer: Bool, at now: Instant) -> Inspection? {
        inspector.inspect(row, isServer: isServer, among: last, at: now)
    }

    /// Ports below `ip_unprivileged_port_start` take root, or a capability that is not looked for.
    func canSucceed(_ bind: FailedBind) -> Bool {
        let start = SystemFiles.text("/proc/sys/net/ipv4/ip_unprivileged_port_start") ?? ""
        let first = Port(start.prefix { $0.isNumber }) ?? 1_024
        guard bind.byRoot || bind.endpoint.port >= first else { return false }
        let address = bind.endpoint.address.unmapped
        return address.isWildcard || address.isLoopback || Network.addresses().contains(address)
    }

    /// From `ip_local_port_range` (ip(7)): "32768	60999".
    func ephemeralPorts() -> ClosedRange<Port>? {
        let text = SystemFiles.text("/proc/sys/net/ipv4/ip_local_port_range") ?? ""
        let ports = text.split(whereSeparator: { $0 == "\t" || $0 == " " || $0 == "\n" })
            .compactMap { Port($0) }
        guard ports.count == 2, ports[0] <= ports[1] else { return nil }
        return ports[0]...ports[1]
    }

    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner] {
        finder.owners(of: inodes) ?? [:]
    }

    func owner(ofProcess pid: Int32) -> SocketOwner {
        let name = OwnerFinder.command(of: Int(pid))
        return SocketOwner(pid: pid, command: name)
    }

    func startHints(
        on loop: Loop, wake: @escaping () -> Void, closed: @escaping () -> Void
    ) {
        if hints == nil { hints = Hints(loop: loop, ring: ring, wake: wake, closed: closed) }
        if looksElsewhere { rules.startHints(on: loop, wake: wake) }
    }

    func stopHints() {
        rules.stopHints()
        hints?.close()
        hints = nil
    }

    func takeEvents() -> (events: [SocketEvent], position: UInt64) {
        guard let taken = hints?.takeEvents() else { return ([], 0) }
        inspector.note(taken.events)
        return taken
    }
}

extension SocketEventRing: ListenerSignal {}

/// The source of the system that this is compiled for.
typealias SystemListeners = LinuxListeners
