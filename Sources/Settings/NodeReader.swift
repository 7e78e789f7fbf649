internal import Yams

/// One node of the file and the way to it. Everything that can be wrong with a node is said here, with its
/// place.
struct NodeReader {
    let node: Node
    let path: String
    let file: String
    /// Where to point when the node itself has no place.
    let fallback: Mark?

    func fail(_ problem: String) -> SettingsError {
        let mark = node.mark ?? fallback
        return SettingsError(
            file: file, line: mark?.line ?? 1, column: mark?.column ?? 1, key: path,
            problem: problem)
    }

    /// What the node is, for "found …".
    var found: String {
        switch node {
        case .scalar(let scalar):
            scalar.string.isEmpty && scalar.style == .plain
                ? "nothing" : "\"\(scalar.string.prefix(60))\""
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }

    // MARK: Shapes

    /// The values of a mapping by key. Nothing at all is an empty mapping; a key that is not in `known`
    /// is an error that names the nearest one that is.
    func members(_ known: [String]) throws(SettingsError) -> [String: NodeReader] {
        if isNothing { return [:] }
        guard case .mapping(let mapping) = node else {
            throw fail("expected a mapping with \(known.joined(separator: ", ")), found \(found)")
        }
        var members: [String: NodeReader] = [:]
        for (keyNode, value) in mapping {
            let key = NodeReader(node: keyNode, path: path, file: file, fallback: nil)
            guard let name = keyNode.scalar?.string else {
                throw key.fail("expected a key, found \(key.found)")
            }
            guard known.contains(name) else { throw key.unknown(name, known) }
            members[name] = NodeReader(
                node: value, path: path.isEmpty ? name : "\(path).\(name)", file: file,
                fallback: keyNode.mark)
        }
        return members
    }

    private func unknown(_ name: String, _ known: [String]) -> SettingsError {
        let nearest = known.min { Self.distance($0, name) < Self.distance($1, name) }
        let hint = nearest.flatMap { Self.distance($0, name) <= 3 ? "; did you mean \($0)?" : nil }
        return fail(
            "unknown key \"\(name.prefix(60))\"\(hint ?? ""); known here: "
                + known.joined(separator: ", "))
    }

    var isNothing: Bool {
        if case .scalar(let scalar) = node, scalar.style == .plain {
            return ["", "~", "null"].contains(scalar.string)
        }
        return false
    }

    // MARK: Values

    func bool() throws(SettingsError) -> Bool {
        if case .scalar(let scalar) = node, scalar.style == .plain {
            switch scalar.string {
            case "true": return true
            case "false": return false
            default: break
            }
        }
        throw fail("expected true or false, found \(found)")
    }

    func text(_ expected: String) throws(SettingsError) -> String {
        guard case .scalar(let scalar) = node, !isNothing else {
            throw fail("expected \(expected), found \(found)")
        }
        return scalar.string
    }

    func list() throws(SettingsError) -> [NodeReader] {
        if isNothing { return [] }
        guard case .sequence(let sequence) = node else {
            throw fail("expected a list, found \(found)")
        }
        return sequence.enumerated().map { index, node in
            NodeReader(node: node, path: "\(path)[\(index)]", file: file, fallback: self.node.mark)
        }
    }

    /// How many letters have to change (Levenshtein), for names of at most 40 letters.
    private static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.lowercased().prefix(40))
        let b = Array(b.lowercased().prefix(40))
        var row = Array(0...b.count)
        for i in 0..<a.count {
            var previous = row[0]
            row[0] = i + 1
            for j in 0..<b.count {
                let next = min(row[j] + 1, row[j + 1] + 1, previous + (a[i] == b[j] ? 0 : 1))
                previous = row[j + 1]
                row[j + 1] = next
            }
        }
        return row[b.count]
    }
}
