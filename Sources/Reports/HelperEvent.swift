package import TwinportModel

// What `GET /v1/events` tells: the node's events and the helper's own, in one order. Their JSON is made and read in
// this one file.

/// Something that happened in or to the helper.
package struct HelperEvent: Equatable, Sendable {
    /// Counts without a gap within one run of the helper, and is higher in every later run.
    package var number: UInt64
    /// Milliseconds since 1970.
    package var time: Int
    /// What happened.
    package var kind: Kind
    /// The guest that it is about, of several; empty: all, or the only one.
    package var guest = ""

    /// Describes an event.
    package init(number: UInt64, time: Int, kind: Kind, guest: String = "") {
        self.guest = guest
        self.number = number
        self.time = time
        self.kind = kind
    }

    /// What happened.
    package enum Kind: Equatable, Sendable {
        /// To listeners, mirrors, the session or a limit.
        case node(Event.Kind)
        /// The settings file was read again.
        case settings(SettingsNews)
        /// Events before this one are not to be had any more.
        case gap(EventGap)
    }
}

/// What holds after the settings file was read again.
package struct SettingsNews: Codable, Equatable, Sendable {
    /// Whether host networking is on.
    package var enabled: Bool
    /// Where the tunnel is.
    package var tunnel: String
    /// Why the file is not in force; the last good settings are.
    @Nullable package var error: String?
    /// Whether nothing of the file is in force, or all but a tunnel: a ``SettingsFault``; nil: all of it is.
    @Nullable package var errorOf: String?

    /// Describes settings.
    package init(
        enabled: Bool, tunnel: String, error: String?, fault: SettingsFault? = nil
    ) {
        errorOf = fault?.rawValue
        self.enabled = enabled
        self.tunnel = tunnel
        self.error = error
    }
}

/// Events that a reader missed.
package struct EventGap: Codable, Equatable, Sendable {
    /// How many; nil where the helper was restarted and cannot know.
    @Nullable package var lost: UInt64?
    /// Whether another run of the helper numbered what the reader had last.
    package var restarted: Bool

    /// Describes a gap.
    package init(lost: UInt64?, restarted: Bool) {
        self.lost = lost
        self.restarted = restarted
    }
}

extension HelperEvent.Kind {
    /// The word for it, in server-sent events, JSON and metrics.
    package var name: String {
        switch self {
        case .node(.port): "port"
        case .node(.portGone): "port-gone"
        case .node(.sessionUp): "session-up"
        case .node(.sessionDown): "session-down"
        case .node(.tunnelTrouble): "tunnel-trouble"
        case .node(.mirrorsClosed): "mirrors-closed"
        case .node(.limit): "limit"
        case .settings: "settings"
        case .gap: "gap"
        }
    }

    /// The same, about one guest of several: the row of a listener names it, too.
    func of(_ guest: String) -> HelperEvent.Kind {
        guard !guest.isEmpty, case .node(.port(var port)) = self else { return self }
        port.guest = guest
        return .node(.port(port))
    }

    /// All names but `gap`'s, which is a reader's and not the helper's.
    package static let names = [
        "port", "port-gone", "session-up", "session-down", "tunnel-trouble", "mirrors-closed",
        "limit", "settings",
    ]
}

extension HelperEvent: Codable {
    private enum Key: String, CodingKey {
        case number, time, kind
        case port, direction, `protocol`, listener, guest, reason, counter, times, guestName
    }

    /// Writes the keys that belong to the kind.
    package func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(number, forKey: .number)
        try json.encode(time, forKey: .time)
        try json.encode(kind.name, forKey: .kind)
        try json.encode(guest.isEmpty ? nil : guest, forKey: .guestName)
        switch kind {
        case .node(let kind): try Self.encode(kind, into: &json)
        case .settings(let news): try news.encode(to: encoder)
        case .gap(let gap): try gap.encode(to: encoder)
        }
    }

    private static func encode(
        _ kind: Event.Kind, into json: inout KeyedEncodingContainer<Key>
    ) throws {
        switch kind {
        case .port(let port): try json.encode(port, forKey: .port)
        case .portGone(let direction, let kind, let endpoint):
            try json.encode(direction, forKey: .direction)
            try json.encode(kind.name, forKey: .protocol)
            try json.encode(endpoint.description, forKey: .listener)
        case .sessionUp(let peer): try json.encode(GuestIdentity(peer), forKey: .guest)
        case .sessionDown(let why), .tunnelTrouble(let why):
            try json.encode(why, forKey: .reason)
        case .mirrorsClosed: break
        case .limit(let counter, let times):
            try json.encode(counter, forKey: .counter)
            try json.encode(times, forKey: .times)
        }
    }

    /// Reads what ``encode(to:)`` writes.
    package init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: Key.self)
        let name = try json.decode(String.self, forKey: .kind)
        let kind: Kind =
            switch name {
            case "settings": .settings(try SettingsNews(from: decoder))
            case "gap": .gap(try EventGap(from: decoder))
            default: .node(try Self.nodeKind(name, json))
            }
        self.init(
            number: try json.decode(UInt64.self, forKey: .number),
            time: try json.decode(Int.self, forKey: .time), kind: kind,
            guest: try json.decodeIfPresent(String.self, forKey: .guestName) ?? "")
    }

    private static func nodeKind(
        _ name: String, _ json: KeyedDecodingContainer<Key>
    ) throws -> Event.Kind {
        switch name {
        case "port": return .port(try json.decode(PortSnapshot.self, forKey: .port))
        case "port-gone": return try portGone(json)
        case "session-up":
            return .sessionUp(PeerIdentity(try json.decode(GuestIdentity.self, forKey: .guest)))
        case "session-down": return .sessionDown(try json.decode(String.self, forKey: .reason))
        case "tunnel-trouble": return .tunnelTrouble(try json.decode(String.self, forKey: .reason))
        case "mirrors-closed": return .mirrorsClosed
        case "limit":
            return .limit(
                counter: try json.decode(String.self, forKey: .counter),
                times: try json.decode(UInt64.self, forKey: .times))
        default: throw unknown(name, .kind, json)
        }
    }

    private static func portGone(_ json: KeyedDecodingContainer<Key>) throws -> Event.Kind {
        let direction = try json.decode(Direction.self, forKey: .direction)
        let kind = try json.decode(String.self, forKey: .protocol)
        let listener = try json.decode(String.self, forKey: .listener)
        guard let socketKind = SocketKind(name: kind) else { throw unknown(kind, .protocol, json) }
        guard let endpoint = Endpoint(listener) else { throw unknown(listener, .listener, json) }
        return .portGone(direction, socketKind, endpoint)
    }

    private static func unknown(
        _ text: String, _ key: Key, _ json: KeyedDecodingContainer<Key>
    ) -> DecodingError {
        .dataCorruptedError(forKey: key, in: json, debugDescription: "\"\(text)\" is not known")
    }
}

extension GuestIdentity {
    /// What a peer said of itself.
    package init(_ peer: PeerIdentity) {
        self.init(
            hostname: peer.hostname, os: peer.os, kernel: peer.kernel, agentVersion: peer.program,
            instance: String(peer.instance, radix: 16))
    }
}

extension PeerIdentity {
    fileprivate init(_ guest: GuestIdentity) {
        self.init(
            hostname: guest.hostname, os: guest.os, kernel: guest.kernel,
            program: guest.agentVersion, instance: UInt64(guest.instance, radix: 16) ?? 0)
    }
}
