/// A flow that is done in both directions, and has only to be closed.
protocol FinishingFlow: AnyObject {
    /// Closes what it has open.
    func finish()
}

/// Flows whose last frame, FIN, is about to leave. They are closed behind it: the peer's application waits for the
/// frame, and nobody for the close. Loop thread only.
final class DoneFlows {
    private var flows: [any FinishingFlow] = []

    func append(_ flow: any FinishingFlow) { flows.append(flow) }

    /// At the end of a turn of the loop, when its frames have left or the tunnel takes no more.
    func finish() {
        guard !flows.isEmpty else { return }
        let count = flows.count
        for at in 0..<count { flows[at].finish() }
        flows.removeFirst(count)
    }
}
