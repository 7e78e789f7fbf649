// The control API's JSON as a script sees it: keys and words, not this package's types.

/// A container in a row of `GET /v1/ports`.
struct ContainerReport: Decodable, Equatable {
    var id: String
    var name: String
}

/// The rule that decides about a row of `GET /v1/ports`.
struct RulePlaceReport: Decodable, Equatable {
    var number: Int
    var line: Int
}

/// What a row of `GET /v1/ports` has if it is a forward.
struct ForwardReport: Decodable, Equatable {
    var number: Int
    var line: Int
    var socket: String
    var code: String?
}

/// One row of `GET /v1/ports`.
struct PortReport: Decodable, Equatable {
    var direction: String
    var `protocol`: String
    var listener: String
    var mirror: String?
    var state: String
    var reason: String?
    var owner: String?
    var container: ContainerReport?
    var flows: Int
    var bytesIn: UInt64
    var bytesOut: UInt64
    var rule: RulePlaceReport?
    var guestName: String?
    var forward: ForwardReport?
    var published: String?

    var port: UInt16 { listener.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }
}

/// One row of `GET /v1/flows`.
struct FlowReport: Decodable, Equatable {
    var id: UInt64
    var direction: String
    var `protocol`: String
    var listener: String
    var mirror: String
    var client: String
    var state: String
    var bytesIn: UInt64
    var bytesOut: UInt64
    var ageSeconds: Int
    var idleSeconds: Int
    var guestName: String?
}
