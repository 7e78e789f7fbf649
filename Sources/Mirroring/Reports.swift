public import Addresses
internal import EventLoop
public import Listeners
internal import Tunnel
public import Wire

/// How one listener and its mirror fare. A value, for other threads.
public struct PortSnapshot: Equatable, Sendable {
    /// Which way.
    public var direction: Direction
    /// The kind of socket: `tcp`, `udp`, or one that cannot be carried.
    public var kind: String
    /// Where the listener is.
    public var listener: Endpoint
    /// Where its mirrors are.
    public var mirrors: [Endpoint]
    /// The state.
    public var state: MirrorState
    /// Why; may be empty.
    public var reason: String
    /// The process behind the listener as `pid/command`; may be empty.
    public var owner: String
    /// The container that process is in.
    public var container: Container?
    /// How many flows there are.
    public var flows: Int
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64
}

/// One flow. A value, for other threads.
public struct FlowSnapshot: Equatable, Sendable {
    /// Its number.
    public var id: UInt64
    /// Which way it was opened.
    public var direction: Direction
    /// TCP or UDP.
    public var transport: TransportProtocol
    /// The listener it goes to.
    public var listener: Endpoint
    /// The mirror it came in by.
    public var mirror: Endpoint
    /// Who opened it.
    public var client: Endpoint
    /// `dialling`, `open`, `half-closed`.
    public var state: String
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64
    /// Milliseconds since it began, and since bytes moved.
    public var age: UInt64
    /// Milliseconds since bytes moved.
    public var idle: UInt64
}

extension Side {
    /// All listeners of both machines, as far as they are known here.
    public func ports() -> [PortSnapshot] {
        mirrors.all.map(snapshot) + offers.all.map(snapshot)
    }

    /// All flows.
    public func flowSnapshots() -> [FlowSnapshot] {
        flows.all.map { flow in
            let info = flow.info
            return FlowSnapshot(
                id: info.id, direction: info.direction, transport: info.transport,
                listener: info.listener, mirror: info.mirror, client: info.client,
                state: flow.stateName, bytesIn: info.bytesIn, bytesOut: info.bytesOut,
                age: loop.now &- info.started, idle: loop.now &- info.lastActive)
        }
    }

    /// How many flows there are.
    public var flowCount: Int { flows.count }

    /// What went wrong so far.
    public var counterSnapshot: SideCounters {
        var snapshot = counters
        snapshot.flowsOverMemory += session?.streamsOverBudget ?? 0
        snapshot.logLinesSuppressed = logLinesSuppressed
        return snapshot
    }

    private func snapshot(_ entry: MirrorEntry) -> PortSnapshot {
        PortSnapshot(
            direction: role == .host ? .guestToHost : .hostToGuest, kind: entry.key.kind.name,
            listener: entry.key.endpoint.unmapped, mirrors: entry.boundAddresses,
            state: entry.state, reason: entry.reason, owner: entry.owner,
            container: entry.container, flows: entry.traffic.flows, bytesIn: entry.traffic.bytesIn,
            bytesOut: entry.traffic.bytesOut)
    }

    private func snapshot(_ offer: Offer) -> PortSnapshot {
        let listener = offer.listener
        let (state, reason) = state(of: offer)
        return PortSnapshot(
            direction: role == .host ? .hostToGuest : .guestToHost, kind: listener.key.kind.name,
            listener: listener.key.endpoint.unmapped, mirrors: offer.mirror?.addresses ?? [],
            state: state, reason: reason,
            owner: listener.owner.map { "\($0.pid)/\($0.command)" } ?? "",
            container: listener.owner?.container, flows: offer.traffic.flows,
            bytesIn: offer.traffic.bytesIn,
            bytesOut: offer.traffic.bytesOut)
    }

    private func state(of offer: Offer) -> (MirrorState, String) {
        if let withheld = offer.withheld { return withheld }
        if let mirror = offer.mirror { return (mirror.state, mirror.reason) }
        return (.pending, session == nil ? "the tunnel is down" : "")
    }
}
