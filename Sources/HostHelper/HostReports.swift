internal import Control
internal import EventLoop
internal import Listeners
internal import Posix
internal import Reports
internal import Settings
internal import TwinportKit
internal import TwinportModel

/// The helper's state in the terms of the control API. Any thread.
final class HostReports: Sendable {
    /// What the settings say, and what is wrong with them.
    struct SettingsState: Sendable {
        var settings: Settings
        var error: String?
        /// What the error is about.
        var fault: SettingsFault?
    }

    let settings: Locked<SettingsState>
    let events: EventFeed
    private let guests: Locked<[HostedGuest]>
    private let options: HostOptions
    private let patience: Patience
    private let startedAt = Loop.nanoseconds

    init(
        _ guests: Locked<[HostedGuest]>, _ events: EventFeed, _ options: HostOptions,
        _ settings: Settings, _ patience: Patience
    ) {
        self.patience = patience
        self.guests = guests
        self.events = events
        self.options = options
        self.settings = Locked(SettingsState(settings: settings))
    }

    // MARK: Questions

    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) {
        let guests = list
        statuses(of: guests) { [self] in reply(report(guests, $0)) }
    }

    func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void) {
        let guests = list
        ports(of: guests) { reply($0.flatMap { $0 }) }
    }

    func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void) {
        let guests = list
        Gathering.from(guests, within: patience) { guest, answer in
            try? guest.node.flows(answer)
        } finish: { (all: [[FlowSnapshot]?]) in
            let named = zip(guests, all).flatMap { guest, rows in
                guest.settings.name.isEmpty
                    ? rows ?? [] : (rows ?? []).map { $0.of(guest.settings.name) }
            }
            reply(named)
        }
    }

    /// Asks twice at once: a reply's handler may not call the node.
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void) {
        let asked = Loop.nanoseconds
        let guests = list
        let first = Locked<([NodeStatus?], UInt64)?>(nil)
        statuses(of: guests) { statuses in first.withLock { $0 = (statuses, Loop.nanoseconds) } }
        ports(of: guests) { [self] ports in
            // Each node answers in the order in which it was asked.
            guard let (statuses, answered) = first.withLock({ $0 }) else { return }
            var metrics = MetricsReport(
                status: report(guests, statuses), ports: ports.flatMap { $0 })
            metrics.time = ThisMachine.wallClock
            metrics.loopLagSeconds = Double(answered &- asked) / 1e9
            metrics.cpuSeconds = ThisProcess.cpuSeconds
            metrics.descriptorLimit = ThisProcess.descriptorLimit
            metrics.events = events.counts
            reply(metrics)
        }
    }

    private var list: [HostedGuest] { guests.withLock { $0 } }

    private func statuses(
        of guests: [HostedGuest], _ reply: @escaping @Sendable ([NodeStatus?]) -> Void
    ) {
        Gathering.from(guests, within: patience) { guest, answer in
            try? guest.node.status(answer)
        } finish: {
            reply($0)
        }
    }

    private func ports(
        of guests: [HostedGuest], _ reply: @escaping @Sendable ([[PortSnapshot]]) -> Void
    ) {
        Gathering.from(guests, within: patience) { guest, answer in
            try? guest.node.ports(answer)
        } finish: { (all: [[PortSnapshot]?]) in
            let named = zip(guests, all).map { guest, rows in
                guest.settings.name.isEmpty
                    ? rows ?? [] : (rows ?? []).map { $0.of(guest.settings.name) }
            }
            reply(named)
        }
    }

    /// Tells the readers of events what holds now.
    func noteSettings() {
        let current = settings.withLock { $0 }
        let inForce = list.map(\.settings)
        let plans = inForce.isEmpty ? current.settings.allGuests : inForce
        events.add(
            .settings(
                SettingsNews(
                    enabled: current.settings.isEnabled, tunnel: plans.places,
                    error: current.error, fault: current.fault)))
    }

    // MARK: Status

    private func report(_ guests: [HostedGuest], _ statuses: [NodeStatus?]) -> StatusReport {
        let current = settings.withLock { $0 }
        var report = StatusReport()
        report.version = options.version
        report.pid = ThisProcess.processID
        report.enabled = current.settings.isEnabled
        report.settingsPath = options.settingsPath
        report.settingsError = current.error
        report.settingsErrorOf = current.fault?.rawValue
        report.ownersError = options.finder?.problem
        report.uptimeSeconds = Int((Loop.nanoseconds &- startedAt) / 1_000_000_000)
        report.rssBytes = ThisProcess.residentBytes
        report.openDescriptors = ThisProcess.openDescriptors
        if let hints = statuses.compactMap({ $0?.hints }).first { report.hints.host = hints.text }
        report.tunnel = guests.map(\.settings).places
        let rows = zip(guests, statuses).map { GuestReport($0, $1) }
        if rows.first?.name != "" { report.takeAll(rows) }
        if rows.count == 1 { report.take(rows[0]) }
        return report
    }
}

extension GuestReport {
    /// - Parameter status: What its node says; nil: it does not run, or is about to end.
    fileprivate init(_ guest: HostedGuest, _ status: NodeStatus?) {
        self.init()
        let (plan, peer) = (guest.settings, status?.peer)
        name = plan.name
        address = plan.address?.description
        enabled = plan.isEnabled
        tunnel = plan.tunnel.uri.description
        tunnelWarning = TunnelAdvice.withoutKey(
            plan.tunnel.uri, hasKey: plan.tunnelKey != nil, role: .host)
        session = peer == nil ? .down : .up
        sessionError =
            peer == nil
            ? (guest.isRunning ? nil : guest.trouble) ?? status?.trouble
                ?? "no guest has connected yet" : nil
        self.guest = peer.map(GuestIdentity.init)
        guard let status else { return }
        hints = status.peerHints?.text
        publishedError = AgentStatus.publishedError(status.published)
        clients = peer.map { _ in ClientsReport(status.clients) }
        sessionSeconds = status.sessionSeconds
        for (state, count) in status.states { states[state.name] = count }
        flows = status.flows
        for counter in status.counters.named { counters[counter.name] = counter.count }
    }
}
