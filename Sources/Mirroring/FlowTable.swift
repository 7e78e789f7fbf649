internal import Addresses
internal import Wire

/// All flows of one side. Keeps the counts and hands out the once-a-second sweep.
final class FlowTable {
    /// The most UDP flows on this side.
    static let maxUDP = 32_768

    private var flows: [UInt64: any Flow] = [:]
    private var nextID: UInt64 = 1
    private(set) var udpCount = 0
    private(set) var opened: UInt64 = 0

    var count: Int { flows.count }
    var all: [any Flow] { Array(flows.values) }

    func makeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }

    func insert(_ flow: any Flow) {
        flows[flow.info.id] = flow
        flow.info.traffic.flows += 1
        opened += 1
        if flow.info.transport == .udp { udpCount += 1 }
    }

    func remove(_ flow: any Flow) {
        guard flows.removeValue(forKey: flow.info.id) != nil else { return }
        flow.info.traffic.flows -= 1
        if flow.info.transport == .udp { udpCount -= 1 }
    }

    func sweep(now: UInt64) {
        for flow in all { flow.sweep(now: now) }
    }

    /// Ends every flow of one direction, or all.
    func abort(_ code: ResetCode, where isMeant: (any Flow) -> Bool = { _ in true }) {
        for flow in all where isMeant(flow) { flow.abort(code) }
    }
}
