// The JSON of ports and flows, as `GET /v1/ports` and `GET /v1/flows` answer it. Endpoints, states and
// reasons are written as their text.

extension PortSnapshot: Codable {
    private enum Key: String, CodingKey {
        case direction, `protocol`, listener, mirror, state, reason, owner, container, flows
        case bytesIn, bytesOut, uid, rule, published
    }

    /// Writes all keys.
    public func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(direction, forKey: .direction)
        try json.encode(kind.name, forKey: .protocol)
        try json.encode(listener.description, forKey: .listener)
        try json.encode(
            orNull(mirrors.map(\.description).joined(separator: ",")), forKey: .mirror)
        try json.encode(state.name, forKey: .state)
        try json.encode(orNull(reason.text), forKey: .reason)
        try json.encode(orNull(owner), forKey: .owner)
        try json.encode(container, forKey: .container)
        try json.encode(flows, forKey: .flows)
        try json.encode(bytesIn, forKey: .bytesIn)
        try json.encode(bytesOut, forKey: .bytesOut)
        try json.encode(uid, forKey: .uid)
        try json.encode(rule, forKey: .rule)
        try json.encode(orNull(published), forKey: .published)
    }

    /// Reads what ``encode(to:)`` writes.
    public init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: Key.self)
        let mirrors = try json.decodeIfPresent(String.self, forKey: .mirror) ?? ""
        self.init(
            direction: try json.decode(Direction.self, forKey: .direction),
            kind: try json.word(.protocol) { SocketKind(name: $0) },
            listener: try json.word(.listener) { Endpoint($0) },
            mirrors: mirrors.split(separator: ",").compactMap { Endpoint($0) },
            state: try json.word(.state) { MirrorState(name: $0) },
            reason: Reason(text: try json.decodeIfPresent(String.self, forKey: .reason) ?? ""),
            owner: try json.decodeIfPresent(String.self, forKey: .owner) ?? "",
            container: try json.decodeIfPresent(Container.self, forKey: .container),
            flows: try json.decode(Int.self, forKey: .flows),
            bytesIn: try json.decode(UInt64.self, forKey: .bytesIn),
            bytesOut: try json.decode(UInt64.self, forKey: .bytesOut))
        uid = try json.decodeIfPresent(UInt32.self, forKey: .uid)
        rule = try json.decodeIfPresent(RulePlace.self, forKey: .rule)
        published = try json.decodeIfPresent(String.self, forKey: .published) ?? ""
    }
}

extension FlowSnapshot: Codable {
    private enum Key: String, CodingKey {
        case id, direction, `protocol`, listener, mirror, client, state, bytesIn, bytesOut
        case ageSeconds, idleSeconds
    }

    /// Writes all keys.
    public func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(id, forKey: .id)
        try json.encode(direction, forKey: .direction)
        try json.encode(transport.name, forKey: .protocol)
        try json.encode(listener.description, forKey: .listener)
        try json.encode(mirror.description, forKey: .mirror)
        try json.encode(client.description, forKey: .client)
        try json.encode(state, forKey: .state)
        try json.encode(bytesIn, forKey: .bytesIn)
        try json.encode(bytesOut, forKey: .bytesOut)
        try json.encode(ageSeconds, forKey: .ageSeconds)
        try json.encode(idleSeconds, forKey: .idleSeconds)
    }

    /// Reads what ``encode(to:)`` writes.
    public init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: Key.self)
        self.init(
            id: try json.decode(UInt64.self, forKey: .id),
            direction: try json.decode(Direction.self, forKey: .direction),
            transport: try json.word(.protocol) { SocketKind(name: $0)?.transport },
            listener: try json.word(.listener) { Endpoint($0) },
            mirror: try json.word(.mirror) { Endpoint($0) },
            client: try json.word(.client) { Endpoint($0) },
            state: try json.decode(FlowState.self, forKey: .state),
            bytesIn: try json.decode(UInt64.self, forKey: .bytesIn),
            bytesOut: try json.decode(UInt64.self, forKey: .bytesOut),
            ageSeconds: try json.decode(Int.self, forKey: .ageSeconds),
            idleSeconds: try json.decode(Int.self, forKey: .idleSeconds))
    }
}

private func orNull(_ text: String) -> String? { text.isEmpty ? nil : text }

extension KeyedDecodingContainer {
    /// A string that stands for a value.
    fileprivate func word<Value>(_ key: Key, _ read: (String) -> Value?) throws -> Value {
        let text = try decode(String.self, forKey: key)
        guard let value = read(text) else {
            throw DecodingError.dataCorruptedError(
                forKey: key, in: self, debugDescription: "\"\(text)\" is not understood")
        }
        return value
    }
}
