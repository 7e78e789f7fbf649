internal import TwinportModel

/// Reads `guests`. Every key of a guest is read over what the whole file says, so that a guest names only what is its own.
enum GuestDecoder {
    /// The most guests: each has a thread of its own, and its share of the helper's descriptors.
    static let most = 64
    private static let nameRule =
        "a name of a-z, 0-9 and hyphens, 63 characters at most, as web-vm, and not localhost: it is also "
        + "its name in /etc/hosts"

    /// How the keys are read that a guest has in common with the whole file.
    struct Sections {
        let tunnel: (NodeReader) throws(SettingsError) -> (TunnelMode?, key: String?)
        /// By their names; what they do not say stays as it is.
        let others: ([String: NodeReader], inout Settings.Guest) throws(SettingsError) -> Void
    }

    static func guests(
        _ node: NodeReader, _ base: Settings, _ sections: Sections
    ) throws(SettingsError) -> [Settings.Guest] {
        let items = try node.list()
        guard !items.isEmpty else {
            throw node.fail(
                "expected a list of guests, found nothing; delete the key for one guest at tunnel")
        }
        guard items.count <= most else {
            throw node.fail("\(items.count) guests are too many: \(most) are permitted")
        }
        var guests: [Settings.Guest] = []
        for item in items {
            let guest = try guest(item, base, sections)
            try check(guest, item, against: guests)
            guests.append(guest)
        }
        return guests
    }

    private static func guest(
        _ node: NodeReader, _ base: Settings, _ sections: Sections
    ) throws(SettingsError) -> Settings.Guest {
        let members = try node.members([
            "name", "enabled", "tunnel", "address", "guestToHost", "hostToGuest", "forwards",
            "udp",
        ])
        guard let nameNode = members["name"] else { throw node.fail("a guest needs \(nameRule)") }
        let name = try nameNode.word(nameRule) { isName($0) ? $0 : nil }
        guard let tunnelNode = members["tunnel"] else {
            throw node.fail(
                "guest \(name) needs a tunnel of its own, as tunnel: { listen: "
                    + "\"unix:///run/twinport/\(name).sock\" }")
        }
        let (tunnel, key) = try sections.tunnel(tunnelNode)
        guard let tunnel else { throw tunnelNode.fail("expected listen or connect, found neither") }
        var guest = Settings.Guest(name: name, tunnel: tunnel)
        guest.tunnelKey = key
        guest.guestToHost = base.guestToHost
        guest.hostToGuest = base.hostToGuest
        guest.udp = base.udp
        if let node = members["enabled"] { guest.isEnabled = try node.bool() }
        if let node = members["address"] { guest.address = try address(node) }
        if let node = members["forwards"] { guest.forwards = try ForwardDecoder.forwards(node) }
        try sections.others(members, &guest)
        return guest
    }

    /// A label of a host name (RFC 1123 §2.1), in lower case: two that differ in case only are one in /etc/hosts.
    private static func isName(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard (1...63).contains(bytes.count), text != "localhost" else { return false }
        let hyphen = UInt8(ascii: "-")
        return bytes.first != hyphen && bytes.last != hyphen
            && bytes.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: byte == hyphen
                }
            }
    }

    /// Loopback's only: a listener on the guest's loopback must not be shown to a network because of its guest's address.
    private static func address(_ node: NodeReader) throws(SettingsError) -> IPAddress {
        let expected =
            "an address of 127.0.0.0/8 other than 127.0.0.1, as 127.0.1.2; a network's address is for "
            + "bind in rules"
        return try node.word(expected) { text in
            guard let address = IPAddress(text)?.unmapped, !address.isIPv6, address.isLoopback,
                address != .loopbackV4, text != "127.0.0.0", text != "127.255.255.255"
            else { return nil }
            return address
        }
    }

    /// Where forwards of both listen on the host: programs there would reach now this guest, now that.
    private static func sharedPlace(_ one: Settings.Guest, _ other: Settings.Guest) -> String? {
        func places(_ guest: Settings.Guest) -> [String] {
            guest.forwards.filter { $0.listener == .host }.map(\.host.text)
        }
        return places(one).first(where: places(other).contains)
    }

    /// What no two guests can have.
    private static func check(
        _ guest: Settings.Guest, _ node: NodeReader, against others: [Settings.Guest]
    ) throws(SettingsError) {
        for other in others {
            if other.name == guest.name {
                throw node.fail("two guests are called \(guest.name); give each a name of its own")
            }
            if other.tunnel == guest.tunnel || other.tunnel.excludes(guest.tunnel) {
                throw node.fail(
                    "guest \(guest.name) has its tunnel at \(guest.tunnel.uri), where guest "
                        + "\(other.name) has its own (\(other.tunnel.uri)); each needs another place: "
                        + "another path, or another port")
            }
            if let place = sharedPlace(guest, other) {
                throw node.fail(
                    "guest \(guest.name) has a forward that listens at \(place) on the host, and so has guest "
                        + "\(other.name); each needs another place")
            }
            if let address = guest.address, other.address == address {
                throw node.fail(
                    "guest \(guest.name) has the address \(address), which guest \(other.name) has "
                        + "as well; give one of them another one, as 127.0.1.3")
            }
        }
    }
}
