internal import Control
internal import EventLoop
internal import Reports
internal import TwinportKit
internal import TwinportModel

/// Answers the control API's questions with what the nodes say. The control socket answers a little before there
/// are any: what is asked by then waits for it.
final class NodeBackend: ControlBackend {
    private enum Question: Sendable {
        case status(@Sendable (StatusReport) -> Void)
        case ports(@Sendable ([PortSnapshot]) -> Void)
        case flows(@Sendable ([FlowSnapshot]) -> Void)
        case metrics(@Sendable (MetricsReport) -> Void)
    }

    private enum State {
        case waiting([Question])
        case open(HostReports)
    }

    private let state = Locked(State.waiting([]))
    /// There from the beginning.
    let feed = EventFeed()
    var events: any EventSource { feed }

    /// From now on there are nodes to ask.
    func open(_ reports: HostReports) {
        let questions: [Question] = state.withLock { state in
            defer { state = .open(reports) }
            if case .waiting(let questions) = state { return questions }
            return []
        }
        for question in questions { Self.put(question, to: reports) }
    }

    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) { ask(.status(reply)) }
    func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void) { ask(.ports(reply)) }
    func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void) { ask(.flows(reply)) }
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void) { ask(.metrics(reply)) }

    private func ask(_ question: Question) {
        let reports: HostReports? = state.withLock { state in
            switch state {
            case .waiting(let questions):
                state = .waiting(questions + [question])
                return nil
            case .open(let reports): return reports
            }
        }
        if let reports { Self.put(question, to: reports) }
    }

    private static func put(_ question: Question, to reports: HostReports) {
        switch question {
        case .status(let reply): reports.status(reply)
        case .ports(let reply): reports.ports(reply)
        case .flows(let reply): reports.flows(reply)
        case .metrics(let reply): reports.metrics(reply)
        }
    }
}
