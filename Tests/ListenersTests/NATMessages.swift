@testable import Listeners

// nftables' messages as the kernel writes them, for tests: attributes of a length, a kind and padding, numbers in network
// order within.

func attribute(_ kind: UInt16, _ value: [UInt8]) -> [UInt8] {
    let length = UInt16(4 + value.count)
    return [UInt8(truncatingIfNeeded: length), UInt8(length >> 8)]
        + [UInt8(truncatingIfNeeded: kind), UInt8(kind >> 8)] + value
        + [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
}

func big(_ number: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
}

func half(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)] }

func text(_ value: String) -> [UInt8] { Array(value.utf8) + [0] }

/// A message of nftables.
func message(_ type: UInt16, _ family: UInt8, _ attributes: [UInt8], flags: UInt16 = 2) -> [UInt8] {
    let length = UInt32(20 + attributes.count)
    let head: [UInt8] = (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    return head + [UInt8(truncatingIfNeeded: type), 10, UInt8(truncatingIfNeeded: flags), 0]
        + [UInt8](repeating: 0, count: 8) + [family, 0, 0, 0] + attributes
}

/// Expressions of rules.
enum Expression {
    static func any(_ name: String, _ data: [UInt8]) -> [UInt8] {
        attribute(1, attribute(1, text(name)) + attribute(2, data))
    }

    static func meta(_ key: UInt32, _ register: UInt32 = 1) -> [UInt8] {
        any("meta", attribute(1, big(register)) + attribute(2, big(key)))
    }

    static func payload(
        _ base: UInt32, _ offset: UInt32, _ size: UInt32, _ register: UInt32 = 1
    ) -> [UInt8] {
        any(
            "payload",
            attribute(1, big(register)) + attribute(2, big(base)) + attribute(3, big(offset))
                + attribute(4, big(size)))
    }

    static let ownAddress =
        any("fib", attribute(1, big(1)) + attribute(2, big(3)) + attribute(3, big(2)))
        + compare([2, 0, 0, 0])

    static func compare(_ value: [UInt8], _ comparison: UInt32 = 0, _ register: UInt32 = 1)
        -> [UInt8]
    {
        any(
            "cmp",
            attribute(1, big(register)) + attribute(2, big(comparison))
                + attribute(3, attribute(1, value)))
    }

    static func immediate(_ value: [UInt8], _ register: UInt32 = 1) -> [UInt8] {
        any("immediate", attribute(1, big(register)) + attribute(2, attribute(1, value)))
    }

    static func verdict(_ code: Int32, _ chain: String = "") -> [UInt8] {
        any("immediate", attribute(1, big(0)) + attribute(2, verdictData(code, chain)))
    }

    static func verdictData(_ code: Int32, _ chain: String) -> [UInt8] {
        attribute(
            2,
            attribute(1, big(UInt32(bitPattern: code)))
                + (chain.isEmpty ? [] : attribute(2, text(chain))))
    }

    static func jump(_ chain: String) -> [UInt8] { verdict(-3, chain) }

    static func lookup(_ set: String, to register: UInt32? = nil) -> [UInt8] {
        any(
            "lookup",
            attribute(1, text(set)) + attribute(2, big(1))
                + (register.map { attribute(3, big($0)) } ?? []))
    }

    /// `dnat to` the address of register 1 and the port of register 2 or another.
    static func dnat(port: UInt32? = nil) -> [UInt8] {
        any(
            "nat",
            attribute(1, big(1)) + attribute(2, big(2)) + attribute(3, big(1))
                + attribute(4, big(1))
                + (port.map { attribute(5, big($0)) + attribute(6, big($0)) } ?? []))
    }

    static let redirect = any("redir", attribute(1, big(1)) + attribute(2, big(1)))

    /// `tcp dport PORT`.
    static func port(_ port: UInt16, _ transport: UInt8 = 6) -> [UInt8] {
        meta(16) + compare([transport]) + payload(2, 2, 2) + compare(half(port))
    }

    static func extensionMatch(_ name: String, _ revision: UInt32, _ blob: [UInt8]) -> [UInt8] {
        any(
            "match",
            attribute(1, text(name)) + attribute(2, big(revision)) + attribute(3, blob))
    }

    static func extensionTarget(_ name: String, _ revision: UInt32, _ blob: [UInt8]) -> [UInt8] {
        any(
            "target",
            attribute(1, text(name)) + attribute(2, big(revision)) + attribute(3, blob))
    }
}

/// A ruleset as a sequence of messages.
struct Messages {
    var chains: [[UInt8]] = []
    var rules: [[UInt8]] = []
    var sets: [[UInt8]] = []
    var elements: [(set: String, [UInt8])] = []
    var family: UInt8 = 2
    private var handle: UInt8 = 0

    init(family: UInt8 = 2) {
        self.family = family
    }

    mutating func base(_ name: String, _ hook: UInt32) {
        chains.append(
            message(
                3, family,
                attribute(1, text("nat")) + attribute(3, text(name))
                    + attribute(4, attribute(1, big(hook)) + attribute(2, big(0xffff_ff9c)))
                    + attribute(7, text("nat"))))
    }

    mutating func rule(_ chain: String, _ expressions: [UInt8], comment: String = "") {
        handle += 1
        var attributes =
            attribute(1, text("nat")) + attribute(2, text(chain))
            + attribute(3, [0, 0, 0, 0, 0, 0, 0, handle]) + attribute(4, expressions)
        if !comment.isEmpty {
            attributes += attribute(7, [0, UInt8(comment.utf8.count + 1)] + text(comment))
        }
        rules.append(message(6, family, attributes))
    }

    mutating func set(_ name: String, flags: UInt32, _ items: [[UInt8]]) {
        sets.append(
            message(
                9, family,
                attribute(1, text("nat")) + attribute(2, text(name)) + attribute(3, big(flags))))
        elements.append(
            (
                name,
                message(
                    12, family,
                    attribute(1, text("nat")) + attribute(2, text(name))
                        + attribute(3, items.flatMap { attribute(1, $0) }))
            ))
    }

    static func element(_ key: [UInt8], _ data: [UInt8]? = nil, isEnd: Bool = false) -> [UInt8] {
        attribute(1, attribute(1, key)) + (data.map { attribute(2, $0) } ?? [])
            + (isEnd ? attribute(3, big(1)) : [])
    }

    /// Reads them as `RuleReader` does.
    ///
    /// - Parameter change: What is done to the bytes before.
    func ruleset(_ change: ([UInt8]) -> [UInt8] = { $0 }) -> NATRuleset {
        var ruleset = NATRuleset()
        for bytes in chains {
            _ = NFTMessage.read(change(bytes)[...], .chains) {
                NFTMessage.note(chain: $1, $0, in: &ruleset)
            }
        }
        for bytes in rules {
            _ = NFTMessage.read(change(bytes)[...], .rules) {
                NFTMessage.note(rule: $1, $0, in: &ruleset)
            }
        }
        for (bytes, element) in zip(sets, elements) {
            var head: NFTMessage.SetHead?
            _ = NFTMessage.read(change(bytes)[...], .sets) {
                head = NFTMessage.head(set: $1, $0)
            }
            guard let head else { continue }
            var raw: [NFTMessage.RawElement] = []
            _ = NFTMessage.read(change(element.1)[...], .elements) {
                NFTMessage.note(elements: $1, in: &raw)
            }
            ruleset.sets[head.id] = NFTMessage.elements(raw, head)
        }
        return ruleset
    }
}
