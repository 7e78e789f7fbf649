package import Reports

// # The agent's local socket
//
// A client connects, sends one line and reads the answer to its end:
//
//     explain 5432/tcp⏎         status⏎         ports⏎         doctor 0.1.0⏎
//     explain 5432/tcp json⏎    status json⏎    ports json width=80 sort=port filter=state=conflict⏎
//     ◀── the finished text, or "error: …"; it ends with a line break, or was cut off
//
// Not the helper's HTTP: SwiftNIO and Foundation would cost the agent more memory than all it does.

/// What the agent can be asked.
package enum Question: Equatable, Sendable {
    /// The longest line, in bytes, without its end.
    package static let longest = 1_024

    /// The agent's state.
    case status(json: Bool)
    /// Listeners.
    case ports(PortsQuestion)
    /// What is up with one port.
    case explain(PortQuestion, json: Bool)
    /// What is wrong, as a program of this version asks.
    case doctor(version: String, json: Bool)

    private static let json = "json"

    /// Reads a line without its end; nil for anything else.
    package init?(line: String) {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        let isJSON = words.last.map(String.init) == Self.json
        let count = words.count - (isJSON ? 1 : 0)
        switch (words[0], count) {
        case ("status", 1): self = .status(json: isJSON)
        case ("ports", _):
            guard let question = PortsQuestion(line: line) else { return nil }
            self = .ports(question)
        case ("explain", 2):
            guard let port = PortQuestion(words[1]) else { return nil }
            self = .explain(port, json: isJSON)
        case ("doctor", 2): self = .doctor(version: String(words[1]), json: isJSON)
        default: return nil
        }
    }

    /// The line without its end.
    var line: String {
        func line(_ words: String, _ isJSON: Bool) -> String {
            isJSON ? "\(words) \(Self.json)" : words
        }
        switch self {
        case .status(let json): return line("status", json)
        case .ports(let question): return question.line
        case .explain(let port, let json): return line("explain \(port.text)", json)
        case .doctor(let version, let json): return line("doctor \(version)", json)
        }
    }
}

/// Which listeners are asked for, and how they are to be shown.
package struct PortsQuestion: Equatable, Sendable {
    /// As JSON.
    package var isJSON = false
    /// The columns of the terminal; nil: nothing is cut.
    package var width: Int?
    /// In which order.
    package var order: PortOrder?
    /// Which; empty: all.
    package var filter = ""

    /// All, for people.
    package init() {}

    /// Reads `ports`, and what follows it; a filter goes on to the end of the line.
    init?(line: String) {
        var rest = line[...]
        guard rest.hasPrefix("ports") else { return nil }
        rest = rest.dropFirst(5)
        while !rest.isEmpty {
            guard rest.first == " " else { return nil }
            rest = rest.dropFirst()
            if rest.hasPrefix("filter=") {
                filter = String(rest.dropFirst(7))
                return
            }
            let word = rest.prefix { $0 != " " }
            guard read(word) else { return nil }
            rest = rest[word.endIndex...]
        }
    }

    private mutating func read(_ word: Substring) -> Bool {
        if word == "json" {
            isJSON = true
        } else if word.hasPrefix("width="), let number = Int(word.dropFirst(6)), number > 0 {
            width = number
        } else if word.hasPrefix("sort="),
            let order = PortOrder(rawValue: String(word.dropFirst(5)))
        {
            self.order = order
        } else {
            return false
        }
        return true
    }

    /// The line without its end.
    var line: String {
        var words = ["ports"]
        if isJSON { words.append("json") }
        if let width { words.append("width=\(width)") }
        if let order { words.append("sort=\(order.rawValue)") }
        if !filter.isEmpty { words.append("filter=\(filter)") }
        return words.joined(separator: " ")
    }
}

/// What the agent says.
package enum Answer: Equatable, Sendable {
    private static let errorMark = "error: "

    /// The finished text.
    case text(String)
    /// Why there is none, in one line.
    case problem(String)

    /// What is sent.
    var bytes: [UInt8] {
        switch self {
        case .text(let text): Array((text + "\n").utf8)
        case .problem(let why): Array((Self.errorMark + why + "\n").utf8)
        }
    }

    /// Reads what was sent; nil when it was cut off.
    init?(_ bytes: [UInt8]) {
        guard bytes.last == UInt8(ascii: "\n") else { return nil }
        let text = String(decoding: bytes.dropLast(), as: UTF8.self)
        self =
            text.hasPrefix(Self.errorMark)
            ? .problem(String(text.dropFirst(Self.errorMark.count))) : .text(text)
    }
}
