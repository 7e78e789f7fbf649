// What a program tells of its state: values, for other threads, the control API and people. Their JSON is
// the control API's: every key is always there, null when it has no value, so that a script can rely on it.

/// One listener and its mirror.
public struct PortSnapshot: Equatable, Sendable {
    /// Which machine has the listener.
    public var direction: Direction
    /// The kind of socket.
    public var kind: SocketKind
    /// Where the listener is.
    public var listener: Endpoint
    /// Where its mirrors are.
    public var mirrors: [Endpoint]
    /// The state.
    public var state: MirrorState
    /// Why.
    public var reason: Reason
    /// The process behind the listener as `PID/COMMAND`; empty when it is not known.
    public var owner: String
    /// The container that process is in.
    public var container: Container?
    /// The user that made the listener's socket; nil when that is not known here.
    public var uid: UInt32?
    /// The rule of its machine's packet filter that publishes it, whether a socket listens or not; empty: none.
    public var published = ""
    /// The rule that decides about it; nil when none does, and on the machine that has no settings.
    public var rule: RulePlace?
    /// What it is, if it is no listener but a forward of the settings: ``listener`` and ``mirrors`` then have its addresses,
    /// if it has any.
    public var forward: ForwardView?
    /// How many flows there are.
    public var flows: Int
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64
    /// The guest's name, of a program with several; empty for the only one.
    public var guest = ""

    /// Describes a listener.
    public init(
        direction: Direction, kind: SocketKind, listener: Endpoint, mirrors: [Endpoint] = [],
        state: MirrorState, reason: Reason = .none, owner: String = "",
        container: Container? = nil, flows: Int = 0, bytesIn: UInt64 = 0, bytesOut: UInt64 = 0
    ) {
        self.direction = direction
        self.kind = kind
        self.listener = listener
        self.mirrors = mirrors
        self.state = state
        self.reason = reason
        self.owner = owner
        self.container = container
        self.flows = flows
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
    }
}

extension PortSnapshot {
    /// Where the listener is, or a forward's service.
    package var listenerText: String { forward?.service ?? listener.description }

    /// Where its mirrors are, or a forward's socket if it is there; empty for none.
    package var mirrorText: String {
        guard let forward else { return mirrors.map(\.description).joined(separator: ",") }
        return state == .active ? forward.socket : ""
    }

    /// Whether other machines can be clients of its mirror.
    package var isForOthers: Bool {
        direction == .guestToHost && state == .active
            && mirrors.contains { !$0.address.unmapped.isLoopback }
    }

    /// The same where its server takes every client for one of its own machine.
    package var sayingThatClientsAreLoopback: PortSnapshot {
        var row = self
        if isForOthers, reason == .none { row.reason = .clientsAreLoopback }
        return row
    }
}

/// What a flow of a forward has in place of addresses.
public struct FlowPlaces: Hashable, Sendable {
    /// Where the service is.
    public var service: String
    /// Where the client connected.
    public var socket: String
    /// The client.
    public var client: String
    /// The kind of socket that the service has.
    public var kind: SocketKind

    /// Describes a flow.
    public init(service: String, socket: String, client: String, kind: SocketKind) {
        self.service = service
        self.socket = socket
        self.client = client
        self.kind = kind
    }
}

/// One flow.
public struct FlowSnapshot: Equatable, Sendable {
    /// Its number, never used twice by one program.
    public var id: UInt64
    /// Which machine has the listener.
    public var direction: Direction
    /// TCP or UDP.
    public var transport: TransportProtocol
    /// The listener it goes to.
    public var listener: Endpoint
    /// The mirror's address that the client dialled.
    public var mirror: Endpoint
    /// The client.
    public var client: Endpoint
    /// Of a forward: what stands for the three addresses.
    public var places: FlowPlaces?
    /// The state.
    public var state: FlowState
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64
    /// Seconds since it began.
    public var ageSeconds: Int
    /// Seconds since bytes moved.
    public var idleSeconds: Int
    /// The guest's name, of a program with several; empty for the only one. Then ``id`` is unique among its flows.
    public var guest = ""

    /// Describes a flow.
    public init(
        id: UInt64, direction: Direction, transport: TransportProtocol, listener: Endpoint,
        mirror: Endpoint, client: Endpoint, state: FlowState, bytesIn: UInt64, bytesOut: UInt64,
        ageSeconds: Int, idleSeconds: Int
    ) {
        self.id = id
        self.direction = direction
        self.transport = transport
        self.listener = listener
        self.mirror = mirror
        self.client = client
        self.state = state
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
        self.ageSeconds = ageSeconds
        self.idleSeconds = idleSeconds
    }
}

/// Counts of things that went wrong, since start.
public struct Counters: Equatable, Sendable {
    /// Datagrams dropped because a queue or a kernel buffer was full.
    public var datagramsDropped: UInt64 = 0
    /// UDP flows that gave way to newer ones.
    public var udpFlowsEvicted: UInt64 = 0
    /// UDP flows whose answers came from another port than the one that was asked.
    public var flowsMoved: UInt64 = 0
    /// Answers from another port that could not be carried: the port is taken or below 1024 where the client is, or
    /// the other side is too old.
    public var answersNotCarried: UInt64 = 0
    /// How often accepting paused because descriptors ran out.
    public var acceptPauses: UInt64 = 0
    /// Connections reset because no stream could be opened for them.
    public var connectionsRefused: UInt64 = 0
    /// OPEN frames for listeners that are not offered.
    public var unknownListeners: UInt64 = 0
    /// Connections to listeners here that were not dialled, because descriptors ran out or there are too
    /// many UDP flows.
    public var dialsRefused: UInt64 = 0
    /// Flows that were reset because all together held too much for applications that do not read.
    public var flowsOverMemory: UInt64 = 0
    /// Listeners of the peer that were not recorded, because it has too many.
    public var listenersDropped: UInt64 = 0
    /// Log lines about the peer's doings that were left out.
    public var logLinesSuppressed: UInt64 = 0
    /// How often bytes left before it was known which listeners they may tell of.
    public var orderGaps: UInt64 = 0

    /// All zero.
    public init() {}

    /// All by name, as the control API and the log have them.
    public var named: [(name: String, count: UInt64)] {
        [
            ("datagramsDropped", datagramsDropped), ("udpFlowsEvicted", udpFlowsEvicted),
            ("flowsMoved", flowsMoved), ("answersNotCarried", answersNotCarried),
            ("acceptPauses", acceptPauses), ("connectionsRefused", connectionsRefused),
            ("unknownListeners", unknownListeners), ("dialsRefused", dialsRefused),
            ("flowsOverMemory", flowsOverMemory), ("listenersDropped", listenersDropped),
            ("logLinesSuppressed", logLinesSuppressed),
            ("orderGaps", orderGaps),
        ]
    }
}
