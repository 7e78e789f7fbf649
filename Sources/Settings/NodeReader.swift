internal import TwinportModel
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
        let hint = NearestWord.to(name, among: known).map { "; did you mean \($0)?" }
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

    /// Whether it is a single value.
    var isText: Bool {
        if case .scalar = node { return !isNothing }
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
        let isQuoted = ["true", "false"].contains(node.scalar?.string)
        throw fail(
            "expected true or false\(isQuoted ? " without quotes" : ""), found \(found)")
    }

    func text(_ expected: String) throws(SettingsError) -> String {
        guard case .scalar(let scalar) = node, !isNothing else {
            throw fail("expected \(expected), found \(found)")
        }
        return scalar.string
    }

    /// A value that is written as one word or text.
    func word<Value>(
        _ expected: String, _ make: (String) -> Value?
    ) throws(SettingsError) -> Value {
        guard let value = make(try text(expected)) else {
            throw fail("expected \(expected), found \(found)")
        }
        return value
    }

    /// Its line in the file, from 1.
    var line: Int { (node.mark ?? fallback)?.line ?? 0 }

    func list() throws(SettingsError) -> [NodeReader] {
        if isNothing { return [] }
        guard case .sequence(let sequence) = node else {
            throw fail("expected a list, found \(found); write \"- \" before each item")
        }
        return sequence.enumerated().map { index, node in
            NodeReader(node: node, path: "\(path)[\(index)]", file: file, fallback: self.node.mark)
        }
    }
}
