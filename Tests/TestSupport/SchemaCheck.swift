import Foundation

/// Compares JSON with a JSON Schema: the words that Twinport's schemas use. Stricter than the standard: keys that an
/// object's schema does not name are faults, because the schema would then not document them.
public enum SchemaCheck {
    /// What is wrong, with the place; empty: nothing.
    public static func faults(_ json: String, _ schema: String) throws -> [String] {
        faults(try value(json), try value(schema), at: "$")
    }

    private static func value(_ text: String) throws -> Any {
        try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
    }

    private static func faults(_ value: Any, _ schema: Any, at place: String) -> [String] {
        guard let schema = schema as? [String: Any] else { return ["\(place): no schema"] }
        if let choices = schema["anyOf"] as? [Any] {
            let all = choices.map { faults(value, $0, at: place) }
            if all.contains(where: \.isEmpty) { return [] }
            return ["\(place): none of \(all.count) fits: \(all.min { $0.count < $1.count } ?? [])"]
        }
        if let words = schema["enum"] as? [String] {
            let word = value as? String ?? "\(value)"
            return words.contains(word) ? [] : ["\(place): \(word) is none of \(words)"]
        }
        switch schema["type"] as? String {
        case "string": return value is String ? [] : ["\(place): no string"]
        case "null": return value is NSNull ? [] : ["\(place): not null"]
        case "boolean", "integer": return number(value, schema, at: place)
        case "array":
            guard let items = value as? [Any] else { return ["\(place): no array"] }
            return items.enumerated().flatMap {
                faults($0.element, schema["items"] ?? "", at: "\(place)[\($0.offset)]")
            }
        case "object": return object(value, schema, at: place)
        default: return ["\(place): the schema has no type"]
        }
    }

    private static func number(_ value: Any, _ schema: [String: Any], at place: String) -> [String]
    {
        guard let number = value as? NSNumber else { return ["\(place): no number"] }
        let isBoolean = String(cString: number.objCType) == "c"
        let isFit = (schema["type"] as? String == "boolean") == isBoolean
        let isWhole = number.doubleValue.rounded() == number.doubleValue
        return isFit && isWhole ? [] : ["\(place): \(number) is not \(schema["type"] ?? "")"]
    }

    private static func object(_ value: Any, _ schema: [String: Any], at place: String) -> [String]
    {
        guard let object = value as? [String: Any] else { return ["\(place): no object"] }
        let properties = schema["properties"] as? [String: Any] ?? [:]
        let required = schema["required"] as? [String] ?? []
        let missing = required.filter { object[$0] == nil }.map { "\(place).\($0) is missing" }
        return missing
            + object.flatMap { key, value in
                guard let shape = properties[key] ?? schema["additionalProperties"] else {
                    return ["\(place).\(key) is not documented"]
                }
                return faults(value, shape, at: "\(place).\(key)")
            }
    }
}
