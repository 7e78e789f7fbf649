package import TwinportModel

/// `twinport explain --json`. The names of the properties are the keys.
package struct ExplainReport: Codable, Equatable, Sendable {
    /// The port that was asked about.
    package var port: Port
    /// `tcp` or `udp`; nil when both were meant.
    @Nullable package var `protocol`: String?
    /// Whether a client of the port reaches a listener through a mirror.
    package var mirrored: Bool
    /// The lines for people.
    package var text: String
    /// The listeners on that port, as `ports` has them.
    package var listeners: [PortSnapshot]

    /// Collects what is known about a port.
    ///
    /// - Parameter guests: What holds for each of several guests, or for the one.
    package init(_ question: PortQuestion, ports: [PortSnapshot], guests: [Outlook]) {
        port = question.port
        `protocol` = question.transport?.name
        listeners = Explanation.rows(question, ports)
        mirrored = listeners.contains { $0.state == .active || $0.state == .covered }
        text = Explanation.text(question, ports: ports, guests: guests)
    }

    /// The same of the one guest.
    package init(_ question: PortQuestion, ports: [PortSnapshot], outlook: Outlook) {
        self.init(question, ports: ports, guests: [outlook])
    }
}
