internal import TwinportModel

/// The JSON Schemas (draft 2020-12) of the control API's answers. Pure.
package enum Schema: String, CaseIterable, Sendable {
    /// `GET /v1/ports`.
    case ports
    /// `GET /v1/flows`.
    case flows
    /// `GET /v1/status`.
    case status
    /// The data of one event of `GET /v1/events`.
    case events
    /// `explain --json` of both programs.
    case explain
    /// `doctor --json` of both programs.
    case doctor

    /// The schema's text, JSON in one line.
    package var text: String {
        let shape: Shape =
            switch self {
            case .ports: .array(.port)
            case .flows: .array(.flow)
            case .status: .status
            case .events: .choice(Shape.events)
            case .explain: .explanation
            case .doctor: .diagnosis
            }
        return #"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"twinport "#
            + "\(rawValue)\",\(shape.members)}"
    }
}

/// What a value looks like.
indirect enum Shape: Sendable {
    case string
    case integer
    case boolean
    case words([String])
    case object(KeyValuePairs<String, Shape>)
    /// Any keys, and what all values look like.
    case map(Shape)
    case array(Shape)
    case nullable(Shape)
    case choice([Shape])

    /// The inside of the schema's object.
    fileprivate var members: String {
        switch self {
        case .string: #""type":"string""#
        case .integer: #""type":"integer""#
        case .boolean: #""type":"boolean""#
        case .words(let words): "\"enum\":[\(Self.quoted(words))]"
        case .object(let keys):
            "\"type\":\"object\",\"required\":[\(Self.quoted(keys.map(\.key)))],\"properties\":{"
                + keys.map { "\"\($0.key)\":{\($0.value.members)}" }.joined(separator: ",") + "}"
        case .map(let shape):
            "\"type\":\"object\",\"additionalProperties\":{\(shape.members)}"
        case .array(let shape): "\"type\":\"array\",\"items\":{\(shape.members)}"
        case .nullable(let shape): #""anyOf":[{"type":"null"},{"# + shape.members + "}]"
        case .choice(let shapes):
            "\"anyOf\":[" + shapes.map { "{\($0.members)}" }.joined(separator: ",") + "]"
        }
    }

    private static func quoted(_ words: [String]) -> String {
        words.map { "\"\($0)\"" }.joined(separator: ",")
    }
}

extension Shape {
    private static let direction = Shape.words(Direction.allCases.map(\.rawValue))
    private static let kind = Shape.words(SocketKind.allCases.map(\.name))

    static let port = Shape.object([
        "direction": direction, "protocol": kind, "listener": .string,
        "mirror": .nullable(.string), "state": .words(MirrorState.allCases.map(\.name)),
        "reason": .nullable(.string), "owner": .nullable(.string),
        "container": .nullable(.object(["id": .string, "name": .string])), "flows": .integer,
        "bytesIn": .integer, "bytesOut": .integer, "uid": .nullable(.integer),
        "rule": .nullable(
            .object(["number": .integer, "line": .integer, "takesNextPort": .boolean])),
        "guestName": .nullable(.string),
        "forward": .nullable(
            .object([
                "number": .integer, "line": .integer, "socket": .string, "code": .nullable(.string),
            ])),
        "published": .nullable(.string),
    ])

    static let flow = Shape.object([
        "id": .integer, "direction": direction,
        "protocol": .words(TransportProtocol.allCases.map(\.name) + [SocketKind.unix.name]),
        "listener": .string,
        "mirror": .string, "client": .string,
        "state": .words(["dialling", "open", "half-closed", "closed"]), "bytesIn": .integer,
        "bytesOut": .integer, "ageSeconds": .integer, "idleSeconds": .integer,
        "guestName": .nullable(.string),
    ])

    private static let guest = Shape.object([
        "hostname": .string, "os": .string, "kernel": .string, "agentVersion": .string,
        "instance": .string,
    ])

    static let status = Shape.object([
        "version": .string, "pid": .integer, "enabled": .boolean,
        "session": .words(["up", "down"]),
        "sessionError": .nullable(.string), "settingsPath": .string,
        "settingsError": .nullable(.string), "settingsErrorOf": .nullable(.string),
        "tunnel": .string,
        "tunnelWarning": .nullable(.string), "guest": .nullable(guest),
        "hints": .object(["host": .string, "guest": .nullable(.string)]),
        "ownersError": .nullable(.string), "publishedError": .nullable(.string),
        "clients": .nullable(clients),
        "uptimeSeconds": .integer, "sessionSeconds": .nullable(.integer),
        "states": .map(.integer), "flows": .integer, "rssBytes": .integer,
        "openDescriptors": .integer, "counters": .map(.integer), "guests": .array(guestRow),
    ])

    static let explanation = Shape.object([
        "port": .integer,
        "protocol": .nullable(.words(TransportProtocol.allCases.map(\.name))),
        "mirrored": .boolean, "text": .string, "listeners": .array(port),
    ])

    static let diagnosis = Shape.object([
        "healthy": .boolean,
        "findings": .array(
            .object([
                "check": .string, "result": .words(["ok", "problem", "note"]), "text": .string,
                "fix": .nullable(.string),
            ])),
    ])

    private static let guestRow = Shape.object([
        "name": .string, "address": .nullable(.string), "enabled": .boolean,
        "session": .words(["up", "down"]), "sessionError": .nullable(.string),
        "tunnel": .string, "tunnelWarning": .nullable(.string), "guest": .nullable(guest),
        "hints": .nullable(.string), "publishedError": .nullable(.string),
        "clients": .nullable(clients),
        "sessionSeconds": .nullable(.integer), "states": .map(.integer), "flows": .integer,
        "counters": .map(.integer),
    ])

    private static let clients = Shape.object([
        "seen": .nullable(.string), "wanted": .string, "why": .string,
    ])

    private static let guestName = Shape.nullable(.string)

    /// One for each kind.
    static let events: [Shape] = [
        .object([
            "kind": .words(["port"]), "number": .integer, "time": .integer, "guestName": guestName,
            "port": port,
        ]),
        .object([
            "kind": .words(["port-gone"]), "number": .integer, "time": .integer,
            "guestName": guestName,
            "direction": direction, "protocol": kind, "listener": .string,
        ]),
        .object([
            "kind": .words(["session-up"]), "number": .integer, "time": .integer,
            "guestName": guestName, "guest": guest,
        ]),
        .object([
            "kind": .words(["session-down", "tunnel-trouble"]), "number": .integer,
            "time": .integer, "guestName": guestName, "reason": .string,
        ]),
        .object([
            "kind": .words(["mirrors-closed"]), "number": .integer, "time": .integer,
            "guestName": guestName,
        ]),
        .object([
            "kind": .words(["limit"]), "number": .integer, "time": .integer, "guestName": guestName,
            "counter": .string,
            "times": .integer,
        ]),
        .object([
            "kind": .words(["settings"]), "number": .integer, "time": .integer,
            "guestName": guestName,
            "enabled": .boolean, "tunnel": .string, "error": .nullable(.string),
            "errorOf": .nullable(.string),
        ]),
        .object([
            "kind": .words(["gap"]), "number": .integer, "time": .integer, "guestName": guestName,
            "lost": .nullable(.integer), "restarted": .boolean,
        ]),
    ]
}
