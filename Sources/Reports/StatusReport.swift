package import TwinportModel

// What the control API answers. The names of the properties are the keys of the JSON; every documented
// key is always there, null when it has no value, so that a script can rely on it.

/// The guest, as its HELLO says.
package struct GuestIdentity: Codable, Equatable, Sendable {
    /// The machine's name.
    package var hostname: String
    /// The operating system.
    package var os: String
    /// Its release.
    package var kernel: String
    /// The agent's version.
    package var agentVersion: String
    /// Tells one run of the agent from the next.
    package var instance: String

    /// Describes a guest.
    package init(
        hostname: String, os: String, kernel: String, agentVersion: String, instance: String
    ) {
        self.hostname = hostname
        self.os = os
        self.kernel = kernel
        self.agentVersion = agentVersion
        self.instance = instance
    }
}

/// Whether there is a session. Raw values are JSON's.
package enum SessionState: String, Codable, Sendable {
    /// A guest is connected.
    case up
    /// None is.
    case down
}

/// One of several guests in `GET /v1/status`. The names of the properties are the keys of the JSON.
package struct GuestReport: Codable, Equatable, Sendable {
    /// Its name in the settings.
    package var name = ""
    /// The address that it has for itself.
    @Nullable package var address: String?
    /// Whether the settings have it switched on.
    package var enabled = true
    /// Whether it is connected.
    package var session = SessionState.down
    /// Why it is not, or the last trouble.
    @Nullable package var sessionError: String?
    /// Where its tunnel is.
    package var tunnel = ""
    /// Who can pass for it, as the tunnel has no key.
    @Nullable package var tunnelWarning: String?
    /// What it says of itself; nil without a session.
    @Nullable package var guest: GuestIdentity?
    /// Whether its kernel says when listeners change; nil where that is not known.
    @Nullable package var hints: String?
    /// Why it does not see the ports that only rules publish.
    @Nullable package var publishedError: String?
    /// As whom its servers see clients on other machines; nil without a session.
    @Nullable package var clients: ClientsReport?
    /// Seconds since the session began.
    @Nullable package var sessionSeconds: Int?
    /// How many listeners are in each state.
    package var states: [String: Int] = [:]
    /// How many flows there are.
    package var flows = 0
    /// What went wrong so far.
    package var counters: [String: UInt64] = [:]

    /// An empty report.
    package init() {}
}

/// `GET /v1/status`.
package struct StatusReport: Codable, Equatable, Sendable {
    /// The helper's version.
    package var version = ""
    /// The helper's process.
    package var pid: Int32 = 0
    /// Whether host networking is on.
    package var enabled = false
    /// Whether there is a session with a guest.
    package var session = SessionState.down
    /// Why there is no session, or the last trouble with one.
    @Nullable package var sessionError: String?
    /// The settings file.
    package var settingsPath = ""
    /// What is wrong with it, or with a tunnel that it names.
    @Nullable package var settingsError: String?
    /// Which of the two: a ``SettingsFault``; nil: nothing is, or an older helper does not say.
    @Nullable package var settingsErrorOf: String?
    /// Where the tunnel is.
    package var tunnel = ""
    /// Who can pass for the guest, as the tunnel has no key.
    @Nullable package var tunnelWarning: String?
    /// The guest; nil without a session.
    @Nullable package var guest: GuestIdentity?
    /// Whether the two machines' kernels say when listeners change.
    package var hints = HintsReport()
    /// Why processes and containers of the host's listeners are not known any more; nil as a rule.
    @Nullable package var ownersError: String?
    /// Why the guest cannot see ports that only rules of its packet filter publish; nil: it can, or there is no session.
    @Nullable package var publishedError: String?
    /// As whom the guest's servers see clients on other machines; nil without a session.
    @Nullable package var clients: ClientsReport?
    /// Seconds since the helper started.
    package var uptimeSeconds = 0
    /// Seconds since the session began.
    @Nullable package var sessionSeconds: Int?
    /// How many listeners are in each state.
    package var states: [String: Int] = [:]
    /// How many flows there are.
    package var flows = 0
    /// The helper's resident memory.
    package var rssBytes = 0
    /// The helper's open descriptors.
    package var openDescriptors = 0
    /// What went wrong so far.
    package var counters: [String: UInt64] = [:]
    /// Each of several guests; empty where the settings name none. What is above is then the sum of all, and null where
    /// there is none.
    package var guests: [GuestReport] = []

    /// An empty report.
    package init() {}
}

/// Whether the kernel of each machine says when listeners change: `kernel`, or `none: ` and why.
package struct HintsReport: Codable, Equatable, Sendable {
    /// The desktop's.
    package var host = ""
    /// The guest's; nil where it is not known.
    @Nullable package var guest: String?

    /// Nothing is known.
    package init() {}
}

/// As whom the guest's servers see clients on other machines.
package struct ClientsReport: Codable, Equatable, Sendable {
    /// `real`, `guest` or `loopback`; nil: the guest does not say.
    @Nullable package var seen: String?
    /// The same, as `guestToHost.clientAddress` wants it.
    package var wanted: String
    /// Why they do not see that; empty where they do.
    package var why: String

    /// Writes a view down.
    package init(_ view: ClientView) {
        seen = view.seen?.rawValue
        wanted = view.wanted.rawValue
        why = view.why
    }

    /// What was written down.
    var view: ClientView {
        ClientView(
            seen: seen.flatMap { ClientAddress(rawValue: $0) },
            wanted: ClientAddress(rawValue: wanted) ?? .real, why: why)
    }

    /// In words.
    var text: String { view.text }
}

/// An optional that is written as null instead of being left out.
@propertyWrapper
package struct Nullable<Wrapped: Codable & Equatable & Sendable>: Codable, Equatable, Sendable {
    /// The value, if there is one.
    package var wrappedValue: Wrapped?

    /// Wraps a value.
    package init(wrappedValue: Wrapped?) {
        self.wrappedValue = wrappedValue
    }

    /// Reads a value or null.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        wrappedValue = container.decodeNil() ? nil : try container.decode(Wrapped.self)
    }

    /// Writes the value or null.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue {
            try container.encode(wrappedValue)
        } else {
            try container.encodeNil()
        }
    }
}

extension KeyedDecodingContainer {
    /// A key that an older helper does not know reads as null.
    func decode<Wrapped>(
        _ type: Nullable<Wrapped>.Type, forKey key: Key
    ) throws -> Nullable<Wrapped> {
        try decodeIfPresent(type, forKey: key) ?? Nullable(wrappedValue: nil)
    }
}
