// What the control API answers. The names of the properties are the keys of the JSON; every documented
// key is always there, null when it has no value, so that a script can rely on it.

/// Who is at the guest's end.
public struct GuestIdentity: Codable, Equatable, Sendable {
    /// The machine's name.
    public var hostname: String
    /// The operating system.
    public var os: String
    /// Its release.
    public var kernel: String
    /// The agent's version.
    public var agentVersion: String
    /// Tells one run of the agent from the next.
    public var instance: String

    /// Describes a guest.
    public init(
        hostname: String, os: String, kernel: String, agentVersion: String, instance: String
    ) {
        self.hostname = hostname
        self.os = os
        self.kernel = kernel
        self.agentVersion = agentVersion
        self.instance = instance
    }
}

/// `GET /v1/status`.
public struct StatusReport: Codable, Equatable, Sendable {
    /// The helper's version.
    public var version = ""
    /// The helper's process.
    public var pid: Int32 = 0
    /// Whether host networking is on.
    public var enabled = false
    /// `up` or `down`.
    public var session = "down"
    /// Why there is no session, or the last trouble with one.
    @Nullable public var sessionError: String?
    /// The settings file.
    public var settingsPath = ""
    /// What is wrong with it; the last good settings are in force.
    @Nullable public var settingsError: String?
    /// Where the tunnel is.
    public var tunnel = ""
    /// Who is at the other end.
    @Nullable public var guest: GuestIdentity?
    /// Seconds since the helper started.
    public var uptimeSeconds = 0
    /// Seconds since the session began.
    @Nullable public var sessionSeconds: Int?
    /// How many listeners are in each state.
    public var states: [String: Int] = [:]
    /// How many flows there are.
    public var flows = 0
    /// The helper's resident memory.
    public var rssBytes = 0
    /// The helper's open descriptors.
    public var openDescriptors = 0
    /// What went wrong so far.
    public var counters: [String: UInt64] = [:]

    /// An empty report.
    public init() {}
}

/// A container.
public struct ContainerReport: Codable, Equatable, Sendable {
    /// Its id; may be empty.
    public var id: String
    /// Its name; may be empty.
    public var name: String

    /// Describes a container.
    public init(id: String, name: String) {
        self.id = id
        self.name = name
    }

    /// For people: its name, or the beginning of its id.
    public var label: String { name.isEmpty ? String(id.prefix(12)) : name }
}

/// One row of `GET /v1/ports`.
public struct PortReport: Codable, Equatable, Sendable {
    /// `guest-to-host` or `host-to-guest`.
    public var direction: String
    /// `tcp`, `udp`, or what cannot be carried: `raw`, `icmp`, `udplite`, `sctp`, `packet`.
    public var `protocol`: String
    /// Where the listener is.
    public var listener: String
    /// Where its mirror is, comma-joined if there are two.
    @Nullable public var mirror: String?
    /// The state's word.
    public var state: String
    /// Why.
    @Nullable public var reason: String?
    /// The process behind the listener, `pid/command`.
    @Nullable public var owner: String?
    /// The container that process is in.
    @Nullable public var container: ContainerReport?
    /// How many flows there are.
    public var flows: Int
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64

    /// Describes a port.
    public init(
        direction: String, protocol: String, listener: String, mirror: String?, state: String,
        reason: String?, owner: String?, container: ContainerReport?, flows: Int, bytesIn: UInt64,
        bytesOut: UInt64
    ) {
        self.direction = direction
        self.protocol = `protocol`
        self.listener = listener
        self.state = state
        self.flows = flows
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
        self.mirror = mirror
        self.reason = reason
        self.owner = owner
        self.container = container
    }

    /// The listener's port.
    public var port: UInt16 {
        listener.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
    }
}

/// One row of `GET /v1/flows`.
public struct FlowReport: Codable, Equatable, Sendable {
    /// Its number.
    public var id: UInt64
    /// `guest-to-host` or `host-to-guest`.
    public var direction: String
    /// `tcp` or `udp`.
    public var `protocol`: String
    /// The listener it goes to.
    public var listener: String
    /// The mirror it came in by.
    public var mirror: String
    /// Who opened it.
    public var client: String
    /// `dialling`, `open` or `half-closed`.
    public var state: String
    /// Bytes towards the listener.
    public var bytesIn: UInt64
    /// Bytes from the listener.
    public var bytesOut: UInt64
    /// Seconds since it began.
    public var ageSeconds: Int
    /// Seconds since bytes moved.
    public var idleSeconds: Int

    /// Describes a flow.
    public init(
        id: UInt64, direction: String, protocol: String, listener: String, mirror: String,
        client: String, state: String, bytesIn: UInt64, bytesOut: UInt64, ageSeconds: Int,
        idleSeconds: Int
    ) {
        self.id = id
        self.direction = direction
        self.protocol = `protocol`
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

/// An optional that is written as null instead of being left out.
@propertyWrapper
public struct Nullable<Wrapped: Codable & Equatable & Sendable>: Codable, Equatable, Sendable {
    /// The value, if there is one.
    public var wrappedValue: Wrapped?

    /// Wraps a value.
    public init(wrappedValue: Wrapped?) {
        self.wrappedValue = wrappedValue
    }

    /// Reads a value or null.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        wrappedValue = container.decodeNil() ? nil : try container.decode(Wrapped.self)
    }

    /// Writes the value or null.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue {
            try container.encode(wrappedValue)
        } else {
            try container.encodeNil()
        }
    }
}
