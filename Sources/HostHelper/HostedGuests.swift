internal import EventLoop
internal import Logging
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Settings
internal import Sockets
internal import TwinportKit
internal import TwinportModel

// # The guests of a helper
//
//     settings ──▶ HostedGuests ─┬─▶ Node "web"   data loop, session, budgets
//                                ├─▶ Node "db"    the same
//                                └─▶ DesktopShare what listens here, places, descriptors
//
// A guest is known by its name. When the settings change, guests that are gone are stopped first (their tunnels and
// ports are then free for others), the others get their policies, move their tunnels where these are elsewhere, and new
// ones start. Nothing of that touches the flows of a guest whose part of the file is as it was.

/// A guest, and what is in force of its settings.
struct HostedGuest: Sendable {
    /// What is in force: the tunnel is the old one where the new one cannot be opened.
    var settings: Settings.Guest
    var node: Node
    /// Why it does not run, or has its old tunnel.
    var trouble: String?
    /// Whether it was started.
    var isRunning = false

    /// Whether a plan that failed may be tried again without anybody's word. Where the new tunnel's place takes the old
    /// one's, that one would be closed for each attempt, and the flows in it reset.
    func mayRetry(_ plan: Settings.Guest) -> Bool {
        guard isRunning, plan.tunnel != settings.tunnel else { return true }
        return !plan.tunnel.excludes(settings.tunnel)
    }
}

/// The nodes of all guests. Changed on the main thread; any thread reads the list.
final class HostedGuests {
    let list = Locked<[HostedGuest]>([])
    private let options: HostOptions
    private let events: EventFeed
    private let desktop: DesktopShare

    init(_ options: HostOptions, _ events: EventFeed, _ settings: Settings) {
        self.options = options
        self.events = events
        desktop = DesktopShare(
            watch: WatchOptions(settings, settings.udp), hints: options.hints?.opened,
            finder: options.finder)
    }

    /// Starts to watch, and a node for each guest. Of several guests one that cannot start keeps no other one out.
    ///
    /// - Throws: What is wrong with the first guest, if none can start.
    func start(_ settings: Settings) throws {
        try desktop.start()
        desktop.share(among: settings.allGuests.count)
        var first: (any Error)?
        for plan in settings.allGuests {
            do {
                try start(plan, settings)
            } catch {
                first = first ?? error
                put(plan, trouble: error)
            }
        }
        if let first, !list.withLock({ $0.contains(where: \.isRunning) }) { throw first }
    }

    private func start(_ plan: Settings.Guest, _ settings: Settings) throws {
        var guest = HostedGuest(settings: plan, node: try makeNode(plan, settings))
        put(guest)
        try guest.node.start()
        guest.isRunning = true
        put(guest)
    }

    func stop() {
        // Nobody asks a node that is about to end.
        for guest in list.withLock({ $0 }) { guest.node.stop() }
        desktop.stop()
    }

    /// Applies settings that were read again. ``troubles`` then has what could not be.
    func apply(_ new: Settings) {
        desktop.reconfigure(WatchOptions(new, new.udp))
        let plans = new.allGuests
        for guest in list.withLock({ $0 })
        where !plans.contains(where: { $0.name == guest.settings.name }) {
            remove(guest)
        }
        vacate(for: plans)
        desktop.share(among: plans.count)
        for plan in plans { update(plan, new) }
        for plan in plans { settle(plan, new) }
        sort(by: plans)
    }

    /// What could not be applied.
    var troubles: [String] { list.withLock { $0 }.compactMap(\.trouble) }

    /// Tries again what could not be applied, where there are several guests and nobody's flows end by that.
    func retry(_ settings: Settings) {
        let plans = settings.allGuests
        guard plans.count > 1, !troubles.isEmpty else { return }
        for guest in list.withLock({ $0 }) where guest.trouble != nil {
            if let plan = plans.first(where: { $0.name == guest.settings.name }),
                guest.mayRetry(plan)
            {
                settle(plan, settings)
            }
        }
    }

    // MARK: One guest

    private func makeNode(_ plan: Settings.Guest, _ settings: Settings) throws -> Node {
        var log = options.log
        if !plan.name.isEmpty { log[metadataKey: "guestName"] = "\(plan.name)" }
        var configuration = NodeConfiguration(
            role: .host, tunnel: try NodeTunnel(plan), policy: MirrorPolicy(settings, plan),
            watch: WatchOptions(settings, plan.udp), program: options.version, log: log)
        configuration.desktop = (desktop, plan.name)
        // Each guest asks it on a thread of its own.
        configuration.opener = options.opener?.channel()
        let node = Node(configuration)
        let name = plan.name
        _ = node.subscribe { ServiceManager.note($0, name.isEmpty ? "guest" : "guest \(name)") }
        _ = node.subscribe { [events] in events.add(.node($0.kind), guest: name) }
        return node
    }

    private func remove(_ guest: HostedGuest) {
        publish(list.withLock { $0 }.filter { $0.settings.name != guest.settings.name })
        guest.node.stop()
        options.log.info("guest removed", metadata: ["guestName": "\(guest.settings.name)"])
    }

    /// Ends guests whose places others are to have: two that change places would wait for each other. Their tunnels
    /// move anyway, so nothing is lost that would have lasted.
    private func vacate(for plans: [Settings.Guest]) {
        for guest in list.withLock({ $0 }) {
            let isWanted = plans.contains { plan in
                plan.name != guest.settings.name
                    && (plan.tunnel == guest.settings.tunnel
                        || plan.tunnel.excludes(guest.settings.tunnel))
            }
            if isWanted { remove(guest) }
        }
    }

    /// Applies everything but the tunnel: switching off never fails.
    private func update(_ plan: Settings.Guest, _ settings: Settings) {
        guard var guest = guest(named: plan.name), guest.isRunning else { return }
        let (tunnel, key) = (guest.settings.tunnel, guest.settings.tunnelKey)
        guest.settings = plan
        guest.settings.tunnel = tunnel
        guest.settings.tunnelKey = key
        try? guest.node.update(
            policy: MirrorPolicy(settings, plan), watch: WatchOptions(settings, plan.udp))
        put(guest)
    }

    /// Starts a guest that is new, or moves the tunnel of one that is there: to another place, or to the key that is in
    /// its file now.
    private func settle(_ plan: Settings.Guest, _ settings: Settings) {
        var guest: HostedGuest
        do {
            try checkConfinement(plan)
            if let known = self.guest(named: plan.name), known.isRunning {
                guest = known
                if try guest.node.move(to: try NodeTunnel(plan)) { note("tunnel moved", plan) }
            } else {
                guest = HostedGuest(settings: plan, node: try makeNode(plan, settings))
                try guest.node.start()
                guest.isRunning = true
                note("guest added", plan)
            }
            guest.settings = plan
            guest.trouble = nil
            put(guest)
        } catch {
            put(plan, trouble: error)
        }
    }

    /// Lists a guest with its trouble: it does not run, or has its old tunnel.
    private func put(_ plan: Settings.Guest, trouble error: any Error) {
        let prefix = plan.name.isEmpty ? "" : "guest \(plan.name): "
        // One that never ran is listed for its trouble. Its configuration needs no key.
        var idle = NodeConfiguration(role: .host)
        idle.log = options.log
        var guest = self.guest(named: plan.name) ?? HostedGuest(settings: plan, node: Node(idle))
        guest.trouble = "\(prefix)\(error)"
        put(guest)
    }

    private func note(_ message: Logger.Message, _ plan: Settings.Guest) {
        options.log.info(
            message, metadata: ["tunnel": "\(plan.tunnel.uri)", "guestName": "\(plan.name)"])
    }

    /// The sandbox knows the folders of sockets, and cannot be told others.
    private func checkConfinement(_ plan: Settings.Guest) throws(NodeError) {
        guard case .listen(let uri) = plan.tunnel, let path = uri.socketPath,
            let confinement = options.confinement, !confinement.allowsSocket(at: path)
        else { return }
        throw .tunnel(
            "tunnel.listen: the sandbox allows sockets in \(confinement.folderList) only; "
                + "restart the helper to listen at \(path)")
    }

    // MARK: The list

    private func guest(named name: String) -> HostedGuest? {
        list.withLock { $0.first { $0.settings.name == name } }
    }

    private func put(_ guest: HostedGuest) {
        var guests = list.withLock { $0 }
        if let index = guests.firstIndex(where: { $0.settings.name == guest.settings.name }) {
            guests[index] = guest
        } else {
            guests.append(guest)
        }
        publish(guests)
    }

    private func sort(by plans: [Settings.Guest]) {
        let guests = list.withLock { $0 }
        publish(plans.compactMap { plan in guests.first { $0.settings.name == plan.name } })
    }

    private func publish(_ guests: [HostedGuest]) {
        list.withLock { $0 = guests }
    }
}
