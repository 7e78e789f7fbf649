internal import Addresses
internal import EventLoop
internal import Posix
internal import Sockets

/// The watcher's work, on its own thread and loop.
final class WatchWorker {
    private static let afterChange: UInt64 = 20
    private static let usual: UInt64 = 50
    private static let quiet: UInt64 = 100
    private static let quietAfter: UInt64 = 5_000
    private static let lively: UInt64 = 1_000
    private static let hintGap: UInt64 = 5
    /// How long TCP rows may be reused while the kernel tells of every change.
    private static let trustHints: UInt64 = 400
    /// The kernel tells before it is done: a socket shows in the tables a moment after its hint.
    private static let hintSettles: UInt64 = 60
    private static let ownersEvery: UInt64 = 500
    /// With doubling gaps: for half a minute, in which a container that starts slowly has got its files.
    private static let ownerTries = 7
    private static let rangeEvery: UInt64 = 5_000

    private let loop: Loop
    private let own: OwnSockets
    private var known: KnownSockets
    private let deliver: @Sendable (ListenerChanges) -> Void
    private var options: WatchOptions
    private let scanner = Scanner()
    private var tracker = ListenerTracker()
    private var timer: Timer?
    private var hints: Hints?
    private var isFirst = true
    private var hintedAt: UInt64 = 0
    private var tcpReadAt: UInt64 = 0
    private var ownVersion: UInt64 = .max
    private var mustSettle = true
    private var scannedAt: UInt64 = 0
    private var changedAt: UInt64 = 0

    private var ephemeralPorts: ClosedRange<Port> = 32_768...60_999
    private var rangeReadAt: UInt64?

    /// Listeners whose owner is not known, how often it was looked for, and when it is again.
    private var ownerless: [ListenerKey: Ownerless] = [:]
    private var ownersAt: UInt64 = 0

    private struct Ownerless {
        var inode: UInt64
        var tries = 0
        var dueAt: UInt64 = 0
    }

    init(
        loop: Loop, own: OwnSockets, options: WatchOptions,
        deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) {
        self.loop = loop
        self.own = own
        known = KnownSockets(own)
        self.options = options
        self.deliver = deliver
    }

    /// Scans for the first time and sets the timer.
    ///
    /// - Returns: False when the loop has no timer to give.
    func start() -> Bool {
        timer = try? Timer(loop: loop) { [unowned self] in tick() }
        guard timer != nil else { return false }
        applyHints()
        tick()
        return true
    }

    func close() {
        timer?.close()
        hints?.close()
        hints = nil
    }

    func perform(_ command: WatchCommand) {
        switch command {
        case .stop: loop.stop()
        case .reconfigure(let options):
            self.options = options
            mustSettle = true
            applyHints()
            tick()
        }
    }

    private func applyHints() {
        if options.usesHints, hints == nil {
            hints = Hints(loop: loop) { [unowned self] in hinted() }
        } else if !options.usesHints {
            hints?.close()
            hints = nil
        }
    }

    /// The kernel says that something may have changed.
    private func hinted() {
        let now = Loop.nanoseconds / 1_000_000
        hintedAt = now
        if now >= scannedAt + Self.hintGap {
            tick()
        } else {
            timer?.start(after: scannedAt + Self.hintGap - now)
        }
    }

    private func tick() {
        scan()
        findOwners()
        timer?.start(after: interval())
    }

    private func interval() -> UInt64 {
        if let fixed = options.fixedInterval { return max(1, fixed) }
        let sinceChange = scannedAt &- changedAt
        if sinceChange < Self.lively || scannedAt < hintedAt + Self.hintSettles {
            return Self.afterChange
        }
        return sinceChange < Self.quietAfter ? Self.usual : Self.quiet
    }

    // MARK: Scanning

    private func scan() {
        let now = Loop.nanoseconds / 1_000_000
        scannedAt = now
        readEphemeralRange(now)
        let reuse = canReuseTCP(now)
        guard var (rows, context) = look(now, reusingTCP: reuse), needsSettling() else { return }
        if tracker.losesListener(rows, context) {
            // A row can be missed while the table changes under the reader.
            guard let second = look(now) else { return }
            (rows, context) = second
        }
        let changes = tracker.update(rows, context)
        mustSettle = false
        guard !changes.isEmpty || isFirst else { return }
        changedAt = now
        noteOwnerless(changes)
        deliver(ListenerChanges(changes: changes, isFirst: isFirst))
        isFirst = false
    }

    /// Whether the TCP rows of the last scan still hold: the kernel tells of changes, told of none, and it
    /// is not long ago.
    private func canReuseTCP(_ now: UInt64) -> Bool {
        let isFresh = now < tcpReadAt + Self.trustHints
        let isSettled = now > hintedAt + Self.hintSettles
        if hints?.tellsOfListen == true, isSettled, !mustSettle, isFresh { return true }
        tcpReadAt = now
        return false
    }

    /// One reading of the tables; nil when it failed, which changes nothing.
    private func look(
        _ now: UInt64, reusingTCP: Bool = false
    ) -> (rows: [SocketRow], context: ListenerTracker.Context)? {
        known.beginScan()
        let scanned = try? scanner.scan(now: now, reusingTCP: reusingTCP)
        let own = known.endScan()
        guard let rows = scanned else {
            // Part of it may have been read: the next whole reading counts as changed.
            mustSettle = true
            return nil
        }
        let context = ListenerTracker.Context(
            own: own, now: now, ephemeralPorts: ephemeralPorts,
            ephemeralAfter: options.udpEphemeralAfter)
        return (rows, context)
    }

    /// Whether what was read, whose sockets are ours, or the time can have changed anything.
    private func needsSettling() -> Bool {
        let version = own.version
        if scanner.hasChanged || version != ownVersion || tracker.isWaiting { mustSettle = true }
        ownVersion = version
        return mustSettle
    }

    private func readEphemeralRange(_ now: UInt64) {
        if let last = rangeReadAt, now < last + Self.rangeEvery { return }
        rangeReadAt = now
        let text = SystemFiles.text("/proc/sys/net/ipv4/ip_local_port_range") ?? ""
        let ports = text.split(whereSeparator: { $0 == "\t" || $0 == " " || $0 == "\n" })
            .compactMap { Port($0) }
        guard ports.count == 2, ports[0] <= ports[1], ephemeralPorts != ports[0]...ports[1] else {
            return
        }
        ephemeralPorts = ports[0]...ports[1]
        mustSettle = true
    }

    // MARK: Owners

    private func noteOwnerless(_ changes: [ListenerChange]) {
        for change in changes {
            switch change {
            case .appeared(let listener), .updated(let listener):
                ownerless[listener.key] = Ownerless(inode: listener.inode)
            case .vanished(let key):
                ownerless[key] = nil
            }
        }
    }

    private func findOwners() {
        guard !ownerless.isEmpty, scannedAt >= ownersAt + Self.ownersEvery || ownersAt == 0 else {
            return
        }
        ownersAt = max(1, scannedAt)
        let due = ownerless.filter { $0.value.dueAt <= scannedAt }
        guard !due.isEmpty else { return }
        let owners = OwnerFinder.owners(of: Set(due.values.map(\.inode)))
        var changes: [ListenerChange] = []
        for (key, wanted) in due {
            let owner = owners[wanted.inode]
            if let owner, let listener = tracker.learn(owner, ofInode: wanted.inode, at: key) {
                changes.append(.updated(listener))
            }
            // A docker-proxy listens before its container's file has the address.
            let isKnown = owner != nil && owner?.container != .unknown
            ownerless[key] = isKnown ? nil : again(wanted)
        }
        if !changes.isEmpty { deliver(ListenerChanges(changes: changes, isFirst: false)) }
    }

    private func again(_ wanted: Ownerless) -> Ownerless? {
        guard wanted.tries + 1 < Self.ownerTries else { return nil }
        var next = wanted
        next.dueAt = scannedAt + Self.ownersEvery << UInt64(wanted.tries)
        next.tries += 1
        return next
    }
}
