/// JSON without Foundation, which costs the agent more memory than all it does: keys sorted, slashes as they are, in one line,
/// as the control API writes it. Pure.
package enum PlainJSON {
    /// The text of a value.
    package static func text(_ value: some Encodable) throws -> String {
        let root = JSONNode()
        try root.take(value)
        return root.text
    }

    /// A string in quotes.
    fileprivate static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\n": quoted += "\\n"
            case "\u{0}"..."\u{1f}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

/// A value that is being written.
private final class JSONNode {
    private var literal = "null"
    private var items: [JSONNode]?
    private var members: [String: JSONNode]?

    var text: String {
        if let members {
            let pairs = members.sorted { $0.key < $1.key }
            let texts = pairs.map { "\(PlainJSON.quoted($0.key)):\($0.value.text)" }
            return "{\(texts.joined(separator: ","))}"
        }
        guard let items else { return literal }
        return "[\(items.map(\.text).joined(separator: ","))]"
    }

    func take(_ value: some Encodable) throws {
        switch value {
        case let text as String: literal = PlainJSON.quoted(text)
        case let flag as Bool: literal = "\(flag)"
        case let number as any BinaryInteger: literal = "\(number)"
        case let number as Double: literal = "\(number)"
        default: try value.encode(to: JSONWriter(node: self))
        }
    }

    func beginObject() { members = members ?? [:] }
    func beginList() { items = items ?? [] }
    var count: Int { items?.count ?? 0 }

    func member(_ key: any CodingKey) -> JSONNode {
        let node = JSONNode()
        members?[key.stringValue] = node
        return node
    }

    func item() -> JSONNode {
        let node = JSONNode()
        items?.append(node)
        return node
    }
}

private struct JSONWriter: Encoder {
    let node: JSONNode
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        node.beginObject()
        return KeyedEncodingContainer(Keyed<Key>(node: node))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.beginList()
        return Unkeyed(node: node)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { Single(node: node) }

    private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
        let node: JSONNode
        var codingPath: [any CodingKey] { [] }

        func encodeNil(forKey key: Key) { _ = node.member(key) }
        func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
            try node.member(key).take(value)
        }
        func nestedContainer<Inner: CodingKey>(
            keyedBy type: Inner.Type, forKey key: Key
        ) -> KeyedEncodingContainer<Inner> {
            JSONWriter(node: node.member(key)).container(keyedBy: type)
        }
        func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
            JSONWriter(node: node.member(key)).unkeyedContainer()
        }
        func superEncoder() -> any Encoder { JSONWriter(node: node) }
        func superEncoder(forKey key: Key) -> any Encoder { JSONWriter(node: node.member(key)) }
    }

    private struct Unkeyed: UnkeyedEncodingContainer {
        let node: JSONNode
        var codingPath: [any CodingKey] { [] }
        var count: Int { node.count }

        func encodeNil() { _ = node.item() }
        func encode<Value: Encodable>(_ value: Value) throws { try node.item().take(value) }
        func nestedContainer<Inner: CodingKey>(
            keyedBy type: Inner.Type
        ) -> KeyedEncodingContainer<Inner> {
            JSONWriter(node: node.item()).container(keyedBy: type)
        }
        func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
            JSONWriter(node: node.item()).unkeyedContainer()
        }
        func superEncoder() -> any Encoder { JSONWriter(node: node.item()) }
    }

    private struct Single: SingleValueEncodingContainer {
        let node: JSONNode
        var codingPath: [any CodingKey] { [] }

        func encodeNil() {}
        func encode<Value: Encodable>(_ value: Value) throws { try node.take(value) }
    }
}
