/// Which end of the tunnel waits for the other, and where.
public enum TunnelMode: Hashable, Sendable {
    /// Listen at the URI.
    case listen(TunnelURI)
    /// Dial the URI, again and again.
    case connect(TunnelURI)

    /// Where.
    public var uri: TunnelURI {
        switch self {
        case .listen(let uri), .connect(let uri): uri
        }
    }

    /// Whether the two cannot be open at the same time, because both listen at the same place.
    package func excludes(_ other: TunnelMode) -> Bool {
        guard case .listen(let one) = self, case .listen(let two) = other else { return false }
        return one.collides(with: two)
    }
}
