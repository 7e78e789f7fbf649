package import TwinportModel

/// What `explain` is asked about: the Unix socket of a forward, as `unix:///run/docker.sock`, or a port, as `80`, `80/tcp`,
/// `tcp/80`, `:80` or `127.0.0.1:80`. An address is not looked at:
/// what stands at another address of the port is part of the answer.
package struct PortQuestion: Equatable, Sendable {
    /// The port; never 0.
    package let port: Port
    /// nil for both.
    package let transport: TransportProtocol?
    /// The path of a Unix socket, which a forward may have; the port is 0 then.
    package let path: String?

    /// Reads a port, or a path; nil for anything else.
    package init?(_ text: some StringProtocol) {
        // "/tcp" is a slip, and "/run/a.sock" a path.
        if text.hasPrefix("unix://") || text.hasPrefix("/") && text.dropFirst().contains("/") {
            let place = text.hasPrefix("/") ? "unix://\(text)" : String(text)
            guard case .unix(let path)? = ForwardPlace(place) else { return nil }
            (port, transport, self.path) = (0, nil, path)
            return
        }
        path = nil
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let place = parts.first, parts.count <= 2 else { return nil }
        if parts.count == 1 {
            transport = nil
            guard let port = Self.port(String(place)) else { return nil }
            self.port = port
            return
        }
        // As a rule of the settings has it, or as services(5).
        let before = Self.transport(String(parts[0]))
        guard let transport = before ?? Self.transport(String(parts[1])),
            let port = Self.port(String(before == nil ? parts[0] : parts[1]))
        else { return nil }
        self.port = port
        self.transport = transport
    }

    private static func transport(_ text: String) -> TransportProtocol? {
        SocketKind(name: text.lowercased())?.transport
    }

    /// The port of `80`, `:80`, `*:80`, `localhost:80`, `127.0.0.1:80` or `[::1]:80`.
    private static func port(_ text: String) -> Port? {
        var digits = text[...]
        if let colon = text.lastIndex(of: ":") {
            digits = text[text.index(after: colon)...]
            let address = text[..<colon]
            let isKnown = ["", "*", "localhost"].contains(address) || Endpoint(text) != nil
            guard isKnown else { return nil }
        }
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = Port(digits), port > 0
        else { return nil }
        return port
    }

    /// The port in the first of these forms.
    package var text: String {
        if let path { return ForwardPlace.unix(path).text }
        return transport.map { "\(port)/\($0.name)" } ?? "\(port)"
    }

    /// What is wrong with `text`, which is no port.
    package static func problem(with text: String) -> String {
        "\"\(text)\" is not a port: expected 80, 80/tcp or 53/udp, an address and a port as 127.0.0.1:80, or unix:///path.sock"
    }
}
