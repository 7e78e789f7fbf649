package import TwinportModel

/// What `GET /metrics` is written from.
package struct MetricsReport: Equatable, Sendable {
    /// The helper's state.
    package var status: StatusReport
    /// Every listener.
    package var ports: [PortSnapshot]
    /// How many events of each kind there were.
    package var events: [String: UInt64] = [:]
    /// When this was taken, in milliseconds since 1970.
    package var time = 0
    /// How long the data loop took to answer a question.
    package var loopLagSeconds = 0.0
    /// Seconds that the helper has used a processor.
    package var cpuSeconds = 0.0
    /// How many descriptors the helper may have.
    package var descriptorLimit: UInt64 = 0

    /// What is said of each guest; of the only one without a name.
    var guests: [GuestReport] {
        guard status.guests.isEmpty else { return status.guests }
        var only = GuestReport()
        only.session = status.session
        only.guest = status.guest
        only.hints = status.hints.guest
        only.sessionSeconds = status.sessionSeconds
        only.counters = status.counters
        return [only]
    }

    /// Measures nothing else yet.
    package init(status: StatusReport, ports: [PortSnapshot]) {
        self.status = status
        self.ports = ports
    }
}
