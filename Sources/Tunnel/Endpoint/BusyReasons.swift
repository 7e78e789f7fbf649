internal import TwinportModel
internal import Wire

// What a connection is told that is turned away because there is another one (GOAWAY busy).

extension SessionEnd {
    /// The live session is alive.
    static func alreadyConnected(_ role: Role) -> SessionEnd {
        let (here, there) = role == .host ? ("host", "guest") : ("guest", "host")
        let program = role == .host ? "twinport-agent" : "helper"
        return SessionEnd(
            .busy,
            "the \(here) already has a \(there) connected; end that \(program), or give each guest a tunnel of its own "
                + "(guests in the host's settings)")
    }

    /// Another connection waits for the live session's place.
    static let anotherIsGreeted = SessionEnd(
        .busy, "another connection to this tunnel is starting; this one is tried again by itself")

    /// More connections than this wait to be greeted, and this one has waited longest.
    static func tooManyHandshakes(_ count: Int) -> SessionEnd {
        SessionEnd(
            .busy,
            "\(count) other connections to this tunnel are starting; end what connects to it and is not Twinport"
        )
    }
}
