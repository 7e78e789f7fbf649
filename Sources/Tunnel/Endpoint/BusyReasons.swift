internal import TwinportModel
internal import Wire

// What a connection is told that is turned away because there is another one (GOAWAY busy).

extension SessionEnd {
    /// The live session is alive.
    static func alreadyConnected(_ role: Role) -> SessionEnd {
        let (here, there) = role == .host ? ("host", "guest") : ("guest", "host")
        return SessionEnd(.busy, "the \(here) already has a \(there) connected")
    }

    /// Another connection waits for the live session's place.
    static let anotherIsGreeted = SessionEnd(.busy, "another connection is being greeted")

    /// More connections than this wait to be greeted, and this one has waited longest.
    static func tooManyHandshakes(_ count: Int) -> SessionEnd {
        SessionEnd(.busy, "\(count) other connections wait to be greeted")
    }
}
