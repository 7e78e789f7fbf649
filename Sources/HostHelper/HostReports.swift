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
    }

    let node: Node
    let settings: Locked<SettingsState>
    let events: EventFeed
    private let options: HostOptions
    private let startedAt = Loop.nanoseconds

    init(_ node: Node, _ events: EventFeed, _ options: HostOptions, _ settings: Settings) {
        self.node = node
        self.events = events
        self.options = options
        self.settings = Locked(SettingsState(settings: settings))
    }

    /// Where the tunnel is, by the settings or by default.
    static func mode(_ settings: Settings) -> TunnelMode {
        settings.tunnel ?? .listen(.unix(path: Places.tunnel))
    }

    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) {
        // A node that is about to end does not answer.
        try? node.status { [self] status in reply(report(status)) }
    }

    /// Asks twice at once: a reply's handler may not call the node.
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void) {
        let asked = Loop.nanoseconds
        let first = Locked<(NodeStatus, UInt64)?>(nil)
        try? node.status { status in first.withLock { $0 = (status, Loop.nanoseconds) } }
        try? node.ports { [self] ports in
            guard let (status, answered) = first.withLock({ $0 }) else { return }
            var metrics = MetricsReport(status: report(status), ports: ports)
            metrics.time = ThisMachine.wallClock
            metrics.loopLagSeconds = Double(answered &- asked) / 1e9
            metrics.cpuSeconds = ThisProcess.cpuSeconds
            metrics.descriptorLimit = ThisProcess.descriptorLimit
            metrics.events = events.counts
            reply(metrics)
        }
    }

    /// Tells the readers of events what holds now.
    func noteSettings() {
        let current = settings.withLock { $0 }
        events.add(
            .settings(
                SettingsNews(
                    enabled: current.settings.isEnabled,
                    tunnel: Self.mode(current.settings).uri.description, error: current.error)))
    }

    private func report(_ status: NodeStatus) -> StatusReport {
        let current = settings.withLock { $0 }
        var report = StatusReport()
        report.version = options.version
        report.pid = ThisProcess.processID
        report.enabled = current.settings.isEnabled
        report.session = status.peer == nil ? .down : .up
        report.sessionError =
            status.peer == nil ? status.trouble ?? "no guest has connected yet" : nil
        report.settingsPath = options.settingsPath
        report.settingsError = current.error
        let uri = Self.mode(current.settings).uri
        report.tunnel = uri.description
        report.tunnelWarning = TunnelAdvice.withoutKey(
            uri, hasKey: current.settings.tunnelKey != nil, role: .host)
        report.guest = status.peer.map(GuestIdentity.init)
        report.hints.host = status.hints.text
        report.hints.guest = status.peerHints?.text
        report.ownersError = options.finder?.problem
        report.publishedError = AgentStatus.publishedError(status.published)
        report.clients = status.peer.map { _ in ClientsReport(status.clients) }
        report.uptimeSeconds = Int((Loop.nanoseconds &- startedAt) / 1_000_000_000)
        report.sessionSeconds = status.sessionSeconds
        for (state, count) in status.states { report.states[state.name] = count }
        report.flows = status.flows
        report.rssBytes = ThisProcess.residentBytes
        report.openDescriptors = ThisProcess.openDescriptors
        for counter in status.counters.named { report.counters[counter.name] = counter.count }
        return report
    }
}
