/// The container a process runs in.
public struct Container: Hashable, Sendable, Codable {
    /// Its id as its runtime gives it, 64 hexadecimal digits for most; empty when only its name is known.
    public var id: String
    /// Its name, empty when that is not known.
    public var name: String

    /// Names a container.
    public init(id: String, name: String) {
        self.id = id
        self.name = name
    }

    /// A container of which neither is known.
    public static let unknown = Container(id: "", name: "?")

    /// For people: the name, or the beginning of the id.
    public var label: String { name.isEmpty ? String(id.prefix(12)) : name }

    /// As LISTENER carries it: `ID/NAME`.
    public var text: String { "\(id)/\(name)" }

    /// Reads ``text``; nil for "not in a container".
    public init?(text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count > 1 else { return nil }
        id = String(parts[0])
        name = String(parts[1])
    }
}
