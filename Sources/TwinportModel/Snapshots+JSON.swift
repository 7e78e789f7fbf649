// The JSON of ports and flows, as `GET /v1/ports` and `GET /v1/flows` answer it. Endpoints, states and
// reasons are written as their text.

extension PortSnapshot: Codable {
    private enum Key: String, CodingKey {
        case direction, `protocol`, listener, mirror, state, reason, owner, container, flows
        case bytesIn, bytesOut, uid, rule, guestName, forward, published
    }

    /// Writes all keys.
    public func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(direction, forKey: .direction)
        try json.encode(kind.name, forKey: .protocol)
        try json.encode(listenerText, forKey: .listener)
        try json.encode(orNull(mirrorText), forKey: .mirror)
        try json.encode(state.name, forKey: .state)
        try json.encode(orNull(reason.text), forKey: .reason)
        try json.encode(orNull(owner), forKey: .owner)
        try json.encode(container, forKey: .container)
        try json.encode(flows, forKey: .flows)
        try json.encode(bytesIn, forKey: .bytesIn)
        try json.encode(bytesOut, forKey: .bytesOut)
        try json.encode(uid, forKey: .uid)
        try json.encode(rule, forKey: .rule)
        try json.encode(orNull(guest), forKey: .guestName)
        try json.encode(
            forward.map { ForwardJSON($0, code: reason.forwardCode) }, forKey: .forward)
        try json.encode(orNull(published), forKey: .published)
    }

    /// Reads what ``encode(to:)`` writes.
    public init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: Key.self)
        let mirrors = try json.decodeIfPresent(String.self, forKey: .mirror) ?? ""
        let forward = try json.decodeIfPresent(ForwardJSON.self, forKey: .forward)
        let listener = try json.decode(String.self, forKey: .listener)
        self.init(
            direction: try json.decode(Direction.self, forKey: .direction),
            kind: try json.word(.protocol) { SocketKind(name: $0) },
            listener: try json.word(.listener) { Endpoint($0) ?? forward.map { _ in .nowhere } },
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
        guest = try json.decodeIfPresent(String.self, forKey: .guestName) ?? ""
        self.forward = forward.map {
            ForwardView(
                place: RulePlace(number: $0.number, line: $0.line), service: listener,
                socket: $0.socket)
        }
    }
}

/// What the row of a forward has besides: its place in the settings, and where programs connect, or would.
private struct ForwardJSON: Codable {
    let number: Int
    let line: Int
    let socket: String
    /// A word for the reason. It follows from the reason's words, and is not read.
    let code: String?

    init(_ view: ForwardView, code: String?) {
        self.code = code
        number = view.place.number
        line = view.place.line
        socket = view.socket
    }

    private enum Key: String, CodingKey { case number, line, socket, code }

    /// Writes all keys.
    func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(number, forKey: .number)
        try json.encode(line, forKey: .line)
        try json.encode(socket, forKey: .socket)
        try json.encode(code, forKey: .code)
    }
}

extension Endpoint {
    /// Stands for an address where there is none.
    package static let nowhere = Endpoint(.anyV4, 0)
}

extension FlowSnapshot: Codable {
    private enum Key: String, CodingKey {
        case id, direction, `protocol`, listener, mirror, client, state, bytesIn, bytesOut
        case ageSeconds, idleSeconds, guestName
    }

    /// Writes all keys.
    public func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(id, forKey: .id)
        try json.encode(direction, forKey: .direction)
        try json.encode(protocolName, forKey: .protocol)
        try json.encode(listenerText, forKey: .listener)
        try json.encode(mirrorText, forKey: .mirror)
        try json.encode(clientText, forKey: .client)
        try json.encode(state, forKey: .state)
        try json.encode(bytesIn, forKey: .bytesIn)
        try json.encode(bytesOut, forKey: .bytesOut)
        try json.encode(ageSeconds, forKey: .ageSeconds)
        try json.encode(idleSeconds, forKey: .idleSeconds)
        try json.encode(orNull(guest), forKey: .guestName)
    }

    /// Reads what ``encode(to:)`` writes.
    public init(from decoder: any Decoder) throws {
        let json = try decoder.container(keyedBy: Key.self)
        let texts = try [Key.listener, .mirror, .client].map {
            try json.decode(String.self, forKey: $0)
        }
        let ends = texts.map { Endpoint($0) }
        let kind = try json.word(.protocol) { SocketKind(name: $0) }
        self.init(
            id: try json.decode(UInt64.self, forKey: .id),
            direction: try json.decode(Direction.self, forKey: .direction),
            transport: kind.transport ?? .tcp, listener: ends[0] ?? .nowhere,
            mirror: ends[1] ?? .nowhere, client: ends[2] ?? .nowhere,
            state: try json.decode(FlowState.self, forKey: .state),
            bytesIn: try json.decode(UInt64.self, forKey: .bytesIn),
            bytesOut: try json.decode(UInt64.self, forKey: .bytesOut),
            ageSeconds: try json.decode(Int.self, forKey: .ageSeconds),
            idleSeconds: try json.decode(Int.self, forKey: .idleSeconds))
        guest = try json.decodeIfPresent(String.self, forKey: .guestName) ?? ""
        guard ends.contains(nil) else { return }
        places = FlowPlaces(service: texts[0], socket: texts[1], client: texts[2], kind: kind)
    }

    /// The word for its protocol, and its three ends, as tables and JSON have them.
    package var protocolName: String { places?.kind.name ?? transport.name }
    /// Where the listener is, or a forward's service.
    package var listenerText: String { places?.service ?? listener.description }
    /// Where the client connected.
    package var mirrorText: String { places?.socket ?? mirror.description }
    /// The client.
    package var clientText: String { places?.client ?? client.description }
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
