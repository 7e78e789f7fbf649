// Keys as terminals send them (ECMA-48, xterm's control sequences).

/// A key that was pressed.
package enum Key: Equatable, Sendable {
    case character(Character)
    case enter, escape, tab, backspace
    case up, down, pageUp, pageDown, home, end
    /// Ctrl-L: draw all anew.
    case redraw
    /// Ctrl-U: forget what was typed.
    case clear
}

/// Reads keys out of bytes, in whatever pieces these come.
package struct KeyDecoder: Sendable {
    private static let escape: UInt8 = 0x1b
    /// No key is longer; what is, is none of ours.
    private static let longest = 16
    private var pending: [UInt8] = []

    /// At the beginning.
    package init() {}

    /// Whether the beginning of a key waits for the rest: a lone Escape is one, and the beginning of others.
    package var isWaiting: Bool { !pending.isEmpty }

    /// Takes bytes.
    ///
    /// - Returns: The keys that they complete.
    package mutating func read(_ bytes: [UInt8]) -> [Key] {
        pending += bytes
        var keys: [Key] = []
        while let (key, length) = next() {
            pending.removeFirst(length)
            if let key { keys.append(key) }
        }
        return keys
    }

    /// Nothing came for a while: what waits is all there is.
    package mutating func settle() -> [Key] {
        defer { pending = [] }
        return pending == [Self.escape] ? [.escape] : []
    }

    /// The first key that is whole, nil for one without a meaning here, and its bytes.
    private func next() -> (Key?, Int)? {
        guard let first = pending.first else { return nil }
        switch first {
        case Self.escape: return sequence()
        case 0x0a, 0x0d: return (.enter, 1)
        case 0x09: return (.tab, 1)
        case 0x08, 0x7f: return (.backspace, 1)
        case 0x0c: return (.redraw, 1)
        case 0x15: return (.clear, 1)
        case ..<0x20: return (nil, 1)
        default: return character(first)
        }
    }

    /// A key that begins with Escape.
    private func sequence() -> (Key?, Int)? {
        guard pending.count > 1 else { return nil }
        let second = pending[1]
        // Two keys: Escape, and whatever follows.
        guard second == UInt8(ascii: "[") || second == UInt8(ascii: "O") else {
            return (.escape, 1)
        }
        guard pending.count > 2 else { return nil }
        if second == UInt8(ascii: "O") { return (Self.key(pending[2], ""), 3) }
        for index in 2..<pending.count where (0x40...0x7e).contains(pending[index]) {
            let parameters = String(decoding: pending[2..<index], as: UTF8.self)
            return (Self.key(pending[index], parameters), index + 1)
        }
        return pending.count > Self.longest ? (nil, pending.count) : nil
    }

    private static func key(_ last: UInt8, _ parameters: String) -> Key? {
        switch (Character(Unicode.Scalar(last)), parameters) {
        case ("A", _): .up
        case ("B", _): .down
        case ("H", _), ("~", "1"), ("~", "7"): .home
        case ("F", _), ("~", "4"), ("~", "8"): .end
        case ("~", "5"): .pageUp
        case ("~", "6"): .pageDown
        default: nil
        }
    }

    /// A character of one to four bytes (UTF-8); a byte that begins none is dropped.
    private func character(_ first: UInt8) -> (Key?, Int)? {
        let length =
            switch first {
            case ..<0x80: 1
            case 0xc2...0xdf: 2
            case 0xe0...0xef: 3
            case 0xf0...0xf4: 4
            default: 0
            }
        guard length > 0 else { return (nil, 1) }
        guard pending.count >= length else { return nil }
        let text = String(decoding: pending.prefix(length), as: UTF8.self)
        guard text.unicodeScalars.count == 1, text != "\u{fffd}", let character = text.first else {
            return (nil, 1)
        }
        return (.character(character), length)
    }
}
