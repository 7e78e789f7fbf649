import Foundation
import Settings
import Testing

/// A value of JSON.
private enum JSON: Decodable, Equatable {
    case null
    case boolean(Bool)
    case integer(Int)
    case text(String)
    indirect case list([JSON])
    indirect case object([String: JSON])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let found = try? value.decode(Bool.self) {
            self = .boolean(found)
        } else if let found = try? value.decode(Int.self) {
            self = .integer(found)
        } else if let found = try? value.decode(String.self) {
            self = .text(found)
        } else if let found = try? value.decode([JSON].self) {
            self = .list(found)
        } else {
            self = .object(try value.decode([String: JSON].self))
        }
    }

    subscript(key: String) -> JSON? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    var members: [String: JSON] { if case .object(let members) = self { members } else { [:] } }
    var items: [JSON] { if case .list(let items) = self { items } else { [] } }
    var words: [String] {
        switch self {
        case .text(let word): [word]
        case .list(let items): items.flatMap(\.words)
        default: []
        }
    }

    var type: String {
        switch self {
        case .null: "null"
        case .boolean: "boolean"
        case .integer: "integer"
        case .text: "string"
        case .list: "array"
        case .object: "object"
        }
    }
}

/// As much of JSON Schema as the settings' uses.
private struct Validator {
    let root: JSON

    func accepts(_ value: JSON, _ schema: JSON) -> Bool {
        if let name = schema["$ref"]?.words.first, !accepts(value, definition(name)) {
            return false
        }
        if let all = schema["allOf"]?.items, !all.allSatisfy({ accepts(value, $0) }) {
            return false
        }
        if case .integer(let least)? = schema["minItems"], value.type == "array",
            value.items.count < least
        {
            return false
        }
        if let types = schema["type"]?.words, !types.contains(value.type) { return false }
        if let some = schema["enum"]?.items, !some.contains(value) { return false }
        if let one = schema["const"], one != value { return false }
        if let some = schema["anyOf"]?.items, !some.contains(where: { accepts(value, $0) }) {
            return false
        }
        if let not = schema["not"], accepts(value, not) { return false }
        if let pattern = schema["pattern"]?.words.first, case .text(let text) = value,
            !matches(text, pattern)
        {
            return false
        }
        if let item = schema["items"], !value.items.allSatisfy({ accepts($0, item) }) {
            return false
        }
        return acceptsMembers(value, schema)
    }

    private func acceptsMembers(_ value: JSON, _ schema: JSON) -> Bool {
        guard case .object(let members) = value else { return true }
        var least = 0
        if case .integer(let count)? = schema["minProperties"] { least = count }
        let required = schema["required"]?.words ?? []
        guard required.allSatisfy({ members[$0] != nil }), members.count >= least else {
            return false
        }
        return members.allSatisfy { key, value in
            schema["properties"]?[key].map { accepts(value, $0) }
                ?? (schema["additionalProperties"] != .boolean(false))
        }
    }

    /// By the standard library: Foundation's expressions leak now and then.
    private func matches(_ text: String, _ pattern: String) -> Bool {
        guard let expression = try? Regex(pattern).matchingSemantics(.unicodeScalar) else {
            Issue.record("\(pattern) is no regular expression")
            return false
        }
        return text.firstMatch(of: expression) != nil
    }

    func definition(_ name: String) -> JSON {
        name.split(separator: "/").dropFirst().reduce(root) { $0[String($1)] ?? .null }
    }
}

@Suite struct SettingsSchemaTests {
    private func json(_ text: String) throws -> JSON {
        try JSONDecoder().decode(JSON.self, from: Data(text.utf8))
    }

    /// JSON is YAML.
    private func problem(_ text: String) -> String? {
        do {
            _ = try SettingsFile.decode(text, file: "s")
            return nil
        } catch {
            return error.description
        }
    }

    private func isAccepted(_ text: String) throws -> Bool {
        let schema = try json(SettingsSchema.text)
        return Validator(root: schema).accepts(try json(text), schema)
    }

    /// The keys of a mapping by the schema.
    private func keys(_ schema: JSON) -> Set<String> {
        Set((schema["properties"] ?? .null).members.keys)
    }

    /// The same by the decoder, which names all of them for one that it does not know.
    private func known(_ text: String) throws -> Set<String> {
        let words = try #require(problem(text)).components(separatedBy: "known here: ")
        return Set(try #require(words.last).components(separatedBy: ", "))
    }

    @Test func `it has the decoder's keys, and no other`() throws {
        let root = try json(SettingsSchema.text)
        #expect(try known("{\"zzzzzz\": 1}") == keys(root))
        for (name, section) in try #require(root["properties"]).members
        where section["properties"] != nil {
            #expect(try known("{\"\(name)\": {\"zzzzzz\": 1}}") == keys(section), "\(name)")
        }
        let validator = Validator(root: root)
        let rules = [("guestToHost", "mirrorRule"), ("hostToGuest", "offerRule")]
        for (section, name) in rules {
            let text = "{\"\(section)\": {\"rules\": [{\"zzzzzz\": 1}]}}"
            #expect(try known(text) == keys(validator.definition("#/$defs/\(name)")), "\(name)")
        }
        let guest = validator.definition("#/$defs/guest")
        #expect(try known("{\"guests\": [{\"zzzzzz\": 1}]}") == keys(guest))
        let choices = validator.definition("#/$defs/match")["anyOf"]?.items
        let match =
            "{\"guestToHost\": {\"rules\": [{\"match\": {\"zzzzzz\": 1}, \"ignore\": true}]}}"
        #expect(try known(match) == keys(choices?.last ?? .null))
    }

    private static let sample = #"""
        {"hostNetworking": {"enabled": true}, "enhancedContainerIsolation": false,
        "tunnel": {"listen": "vsock://any:1024", "key": "/etc/k"},
        "guestToHost": {"enabled": true, "bind": "same", "scope": "all", "clientAddress": "real",
        "only": ["tcp/80", "*/*"], "ignore": ["udp/1-9"], "rules": [
        {"match": "tcp/80", "host": 8080}, {"match": "tcp/80-81", "host": "127.0.0.1:90-91"},
        {"match": {"port": "tcp/1", "address": "0.0.0.0", "container": "w*", "process": "x", "uid": 7},
        "ignore": false, "bind": "192.168.1.5", "onConflict": "next"}]},
        "hostToGuest": {"enabled": true, "rules": [{"match": "*/53", "ignore": true}], "only": [],
        "ignore": [], "showOwners": true, "otherGuests": true},
        "udp": {"idle": "5m", "ephemeralAfter": "never"}, "scan": {"interval": "25ms", "hints": false}}
        """#

    private static let guests = #"""
        {"guestToHost": {"bind": "loopback"}, "guests": [
        {"name": "web-vm", "enabled": false, "tunnel": {"listen": "unix:///a", "key": "/k"}, "address": "127.0.1.2",
        "guestToHost": {"bind": "same"}, "hostToGuest": {"only": []}, "udp": {"idle": "5s"}},
        {"name": "0", "tunnel": {"connect": "vsock://5:1024"}}]}
        """#

    @Test func `a file with every key is valid by both`() throws {
        #expect(problem(Self.sample) == nil)
        #expect(try isAccepted(Self.sample))
        for name in ["{}", Self.guests, #"{"udp": null}"#, #"{"guestToHost": {"ignore": null}}"#] {
            #expect(try problem(name) == nil && isAccepted(name), "\(name)")
        }
    }

    private static let goodPlaces = [
        "unix:///a", "unix:///run/a b/ü.sock", "unix:///" + String(repeating: "a", count: 106),
        "tcp/127.0.0.1:1", "tcp/0.0.0.0:65535", "tcp/10.1.2.3:080", "tcp/240.0.0.1:80",
        "tcp/[::1]:80", "tcp/[::]:80", "tcp/[fe80::1:2]:80", "tcp/[1:2:3:4:5:6:7:8]:80",
        "tcp/[1:2:3:4:5:6:1.2.3.4]:80", "tcp/[::ffff:10.0.0.1]:80", "tcp/[1::]:80",
        "tcp/[ff::1]:80",
    ]

    private static let badPlaces = [
        "", "/run/a", "unix:/a", "unix://run/a", "unix:///", "unix:///a/", "unix:///a\\u0007",
        "unix:///" + String(repeating: "a", count: 107), "udp/127.0.0.1:80", "tcp://127.0.0.1:80",
        "tcp/127.0.0.1", "tcp/127.0.0.1:", "tcp/127.0.0.1:0", "tcp/127.0.0.1:65536", "tcp/80",
        "tcp/127.0.0.1:+80", "tcp/127.0.0.1:80 ", "tcp/localhost:80", "tcp/127.0.0.1:8a",
        "tcp/256.0.0.1:80", "tcp/01.2.3.4:80", "tcp/1.2.3:80", "tcp/224.0.0.1:80",
        "tcp/239.255.255.255:80", "tcp/255.255.255.255:80", "tcp/::1:80", "tcp/[::1]",
        "tcp/[::1:80",
        "tcp/[127.0.0.1]:80", "tcp/[ff02::1]:80", "tcp/[1:2:3:4:5:6:7:8:9]:80", "tcp/[1::2::3]:80",
        "tcp/[:1]:80", "tcp/[12345::]:80", "tcp/[::1.2.3.256]:80", "tcp/[fe80::1%lo]:80",
    ]

    @Test(arguments: goodPlaces.map { ($0, true) } + badPlaces.map { ($0, false) })
    func `places of forwards are the decoder's`(place: String, isGood: Bool) throws {
        // At either end, where the socket is made: a service cannot be at all addresses.
        for (end, other) in [("host", "guest"), ("guest", "host")] {
            let text =
                "{\"forwards\": [{\"\(end)\": \"\(place)\", \"\(other)\": \"unix:///b\", \"listen\": \"\(end)\"}]}"
            #expect((problem(text) == nil) == isGood, "\(problem(text) ?? "accepted")")
            #expect(try isAccepted(text) == isGood, "\(text)")
        }
    }

    @Test(arguments: [
        (#""guest": "tcp/0.0.0.0:80", "host": "unix:///a", "listen": "host""#, false),
        (#""guest": "tcp/[::]:80", "host": "unix:///a", "listen": "host""#, false),
        (#""host": "tcp/0.0.0.0:80", "guest": "unix:///a", "listen": "guest""#, false),
        (#""host": "tcp/0.0.0.0:80", "guest": "unix:///a", "listen": "host""#, true),
        (
            #""host": "unix:///a", "guest": "unix:///b", "listen": "host", "mode": "0660", "uid": 7"#,
            true
        ),
        (
            #""host": "tcp/127.0.0.1:80", "guest": "unix:///b", "listen": "host", "mode": "0660""#,
            false
        ),
        (#""host": "unix:///a", "guest": "tcp/127.0.0.1:80", "listen": "guest", "gid": 7"#, false),
        (#""host": "unix:///a", "guest": "unix:///b""#, false),
    ])
    func `which ends a forward can have is the decoder's`(members: String, isGood: Bool) throws {
        let text = "{\"forwards\": [{\(members)}]}"
        #expect((problem(text) == nil) == isGood, "\(problem(text) ?? "accepted")")
        #expect(try isAccepted(text) == isGood, "\(text)")
    }

    @Test(arguments: [
        #"{"udp": {"idel": "5s"}}"#, #"{"udp": {"idle": 5}}"#, #"{"guestToHost": {"only": null}}"#,
        #"{"guestToHost": {"bind": "lan"}}"#, #"{"guestToHost": {"ignore": ["tcp/x"]}}"#,
        #"{"guestToHost": {"rules": [{"match": "tcp/80"}]}}"#, #"{"tunnel": {"key": "k"}}"#,
        #"{"hostToGuest": {"rules": [{"match": "tcp/80"}]}}"#, #"{"scan": {"hints": "yes"}}"#,
        #"{"tunnel": {"listen": "unix:///a", "connect": "unix:///b"}}"#, #"{"hostNetworking": 7}"#,
        #"{"guestToHost": {"rules": [{"match": {}, "ignore": true}]}}"#,
        #"{"guests": []}"#, #"{"guests": [{"name": "a"}]}"#,
        #"{"guests": [{"name": "a", "tunnel": {}}]}"#,
        #"{"guests": [{"name": "A b", "tunnel": {"listen": "unix:///a"}}]}"#,
        #"{"guests": [{"name": "a", "tunnel": {"listen": "unix:///a"}, "address": "10.0.0.1"}]}"#,
        #"{"tunnel": {"key": "/k"}, "guests": [{"name": "a", "tunnel": {"listen": "unix:///a"}}]}"#,
    ]) func `what the decoder refuses the schema refuses`(text: String) throws {
        #expect(problem(text) != nil)
        #expect(try !isAccepted(text), "\(text)")
    }
}
