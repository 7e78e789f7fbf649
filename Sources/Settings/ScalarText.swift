/// Texts as scalars of YAML.
enum ScalarText {
    /// A text as YAML reads it back: bare where that is unambiguous, otherwise quoted, with everything that is
    /// not plain ASCII escaped (YAML 1.2 §5.7).
    static func bare(_ text: String) -> String {
        let isBare = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                true
            default: "/._-:[]".utf8.contains(byte)
            }
        }
        if isBare, let first = text.utf8.first, first != UInt8(ascii: "["), !text.hasSuffix(":") {
            return text
        }
        return quoted(text)
    }

    /// A text in quotes.
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case " "..."~": quoted.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return quoted + "\""
    }
}
