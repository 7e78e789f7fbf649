/// A flow that is done in both directions, and has only to be closed.
protocol FinishingFlow: AnyObject {
    /// Closes what it has open.
    func finish()
}

/// Flows whose last frame, FIN, is about to leave. They are closed behind it: the peer's application waits for the
/// frame, and nobody for the close. Loop thread only.
final class DoneFlows {
    private var flows: [any FinishingFlow] = []
    /// Asked at the end of each turn: of the array that would be a checked access.
    private var hasSome = false

    func append(_ flow: any FinishingFlow) {
        hasSome = true
        flows.append(flow)
    }

    /// At the end of a turn of the loop, when its frames have left or the tunnel takes no more.
    func finish() {
        guard hasSome else { return }
        let count = flows.count
        for at in 0..<count { flows[at].finish() }
        flows.removeFirst(count)
        hasSome = !flows.isEmpty
    }
}
