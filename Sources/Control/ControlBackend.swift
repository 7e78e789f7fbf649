package import Reports
package import TwinportModel

/// Where the control API gets its answers. Called on the server's thread; each reply is called once, on any.
package protocol ControlBackend: Sendable {
    /// The helper's state.
    func status(_ reply: @escaping @Sendable (StatusReport) -> Void)
    /// All listeners.
    func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void)
    /// All flows.
    func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void)
    /// What there is to measure.
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void)
    /// What happens.
    var events: any EventSource { get }
}

/// Where `GET /v1/events` gets its events. Any thread; nothing here waits for anything but a lock.
package protocol EventSource: AnyObject, Sendable {
    /// The last event's number.
    var newest: UInt64 { get }
    /// The events after a number, the oldest first, and that some are lost.
    func events(after number: UInt64, most: Int) -> [HelperEvent]
    /// Calls `wake` once, when there is an event after `number`; on any thread, which it must not block. Only the last
    /// `wake` counts.
    func wake(after number: UInt64, _ wake: @escaping @Sendable () -> Void)
}

/// A control socket that cannot be used, or a helper that does not answer.
package struct ControlError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Whether simply no helper runs there.
    package let isNotRunning: Bool
    /// Whether asking again would not help.
    package let isFinal: Bool
    /// In words, with what to do.
    package let description: String

    init(_ description: String, isNotRunning: Bool = false, isFinal: Bool = false) {
        self.description = description
        self.isFinal = isFinal
        self.isNotRunning = isNotRunning
    }
}
