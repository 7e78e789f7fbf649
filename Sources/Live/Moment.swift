package import Reports
package import TwinportModel

/// What a helper said at one moment, and how fast bytes moved until then.
package struct Moment: Sendable {
    /// Its state.
    package var status = StatusReport()
    /// Its listeners.
    package var ports: [PortSnapshot] = []
    /// Its flows.
    package var flows: [FlowSnapshot] = []
    /// Why it says nothing now; what it said before is still here.
    package var trouble: String?
    /// Of listeners.
    package var portRates = RateMeter<ListenerKey>()
    /// Of flows, by their numbers.
    package var flowRates = RateMeter<FlowKey>()

    /// Nothing was said yet.
    package init() {}

    /// Takes what was said.
    package mutating func take(_ answer: HelperAnswer, at nanoseconds: UInt64) {
        switch answer {
        case .trouble(let why): trouble = why
        case .report(let status, let ports, let flows):
            trouble = nil
            self.status = status
            self.ports = ports
            self.flows = flows
            portRates.take(ports.counts, at: nanoseconds)
            flowRates.take(flows.counts, at: nanoseconds)
        }
    }

    /// Bytes of all listeners so far.
    package var carried: ByteCount {
        ports.reduce(ByteCount(0, 0)) {
            ByteCount($0.bytesIn &+ $1.bytesIn, $0.bytesOut &+ $1.bytesOut)
        }
    }
}

/// The answer to one round of questions.
package enum HelperAnswer: Sendable {
    /// All of them were answered.
    case report(StatusReport, [PortSnapshot], [FlowSnapshot])
    /// Why not.
    case trouble(String)

    /// What of it is about one guest, of several.
    ///
    /// - Parameter guest: Nil: all of it.
    func limited(to guest: String?) -> HelperAnswer {
        guard let guest, case .report(let status, let ports, let flows) = self else { return self }
        guard let narrowed = status.narrowed(to: guest) else {
            return .trouble("--guest \(guest): \(status.problem(withGuest: guest))")
        }
        return .report(
            narrowed, ports.filter { $0.guest == guest }, flows.filter { $0.guest == guest })
    }
}
