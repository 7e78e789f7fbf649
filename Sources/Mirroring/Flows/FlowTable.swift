internal import TwinportModel
internal import Wire

/// All flows of one forwarder. Keeps the counts and hands out the once-a-second sweep. Loop thread only.
final class FlowTable {
    /// The most UDP flows on this machine.
    static let maxUDP = 32_768

    private var flows: [UInt64: any Flow] = [:]
    private var nextID: UInt64 = 1
    private(set) var udpCount = 0
    /// Flows that have lived through the end of a session already.
    private var survivors: Set<UInt64> = []

    var count: Int { flows.count }
    var all: [any Flow] { Array(flows.values) }
    var hasRoomForUDP: Bool { udpCount < Self.maxUDP }

    func makeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }

    func insert(_ flow: any Flow) {
        flows[flow.info.id] = flow
        flow.info.traffic.flows += 1
        if flow.info.transport == .udp { udpCount += 1 }
    }

    /// Takes out a flow that is over.
    func remove(_ flow: any Flow) {
        guard flows.removeValue(forKey: flow.info.id) != nil else { return }
        flow.info.traffic.flows -= 1
        flow.info.isOver = true
        if flow.info.transport == .udp { udpCount -= 1 }
    }

    func sweep(now: UInt64) {
        for flow in all { flow.sweep(now: now) }
    }

    /// Ends every flow of one direction, or all.
    func abort(_ code: ResetCode, where isMeant: (any Flow) -> Bool = { _ in true }) {
        for flow in all where isMeant(flow) { flow.abort(code) }
    }

    /// To be called after a session ended. The flows that remain hold all of the peer's bytes and its FIN, and only the
    /// application still reads. A flow may survive one session's end; this aborts those that survived an earlier one,
    /// or a peer could leave held bytes behind with every session.
    func abortSurvivors() {
        abort(.tunnelLost) { [survivors] in survivors.contains($0.info.id) }
        survivors = Set(flows.keys)
    }

    /// All flows as values, at time `now` of the loop's clock.
    func snapshots(now: UInt64) -> [FlowSnapshot] {
        all.map { flow in
            let info = flow.info
            var snapshot = FlowSnapshot(
                id: info.id, direction: info.direction, transport: info.transport,
                listener: info.listener, mirror: info.mirror, client: info.client,
                state: flow.state, bytesIn: info.bytesIn, bytesOut: info.bytesOut,
                ageSeconds: Int((now &- info.started) / 1_000),
                idleSeconds: Int((now &- info.lastActive) / 1_000))
            snapshot.places = info.places
            return snapshot
        }
    }
}
