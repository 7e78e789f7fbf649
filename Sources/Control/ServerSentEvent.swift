// Server-sent events (WHATWG HTML, "Server-sent events"): lines of text, an empty line behind each event.

/// One event of a stream, as text.
package struct ServerSentEvent: Equatable, Sendable {
    /// What a reader resumes after.
    package var id: String
    /// Its kind.
    package var event: String
    /// What happened; without line ends.
    package var data: String

    /// Describes an event.
    package init(id: String, event: String, data: String) {
        self.id = id
        self.event = event
        self.data = data
    }

    /// As it is sent.
    package var text: String { "id: \(id)\nevent: \(event)\ndata: \(data)\n\n" }

    /// What keeps a connection from looking dead.
    package static let keepAlive = ": keep-alive\n\n"
    /// How a stream begins: after how many milliseconds a reader comes back.
    package static let beginning = "retry: 1000\n\n"
}

/// Reads a stream, in whatever pieces it comes.
package struct ServerSentEventParser: Sendable {
    /// Longer lines are no events of ours.
    private static let longestLine = 1 << 20
    private var line: [UInt8] = []
    private var event = ServerSentEvent(id: "", event: "", data: "")

    /// At the beginning of a stream.
    package init() {}

    /// Takes more bytes.
    ///
    /// - Returns: The events that they complete; nil when the bytes are no such stream.
    package mutating func read(_ bytes: some Sequence<UInt8>) -> [ServerSentEvent]? {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            guard byte == UInt8(ascii: "\n") else {
                line.append(byte)
                if line.count > Self.longestLine { return nil }
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if let event = endLine() { events.append(event) }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func endLine() -> ServerSentEvent? {
        if line.isEmpty {
            defer { event.event = ""; event.data = "" }
            return event.data.isEmpty ? nil : event
        }
        let text = String(decoding: line, as: UTF8.self)
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var value = parts.count == 2 ? parts[1] : ""
        if value.first == " " { value.removeFirst() }
        switch parts[0] {
        case "id": event.id = String(value)
        case "event": event.event = String(value)
        case "data": event.data += (event.data.isEmpty ? "" : "\n") + value
        default: break
        }
        return nil
    }
}
