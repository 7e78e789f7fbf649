internal import TwinportModel
internal import Yams

/// Reads a settings file's text. Strict: what is not understood is an error with its place, never a default.
enum SettingsDecoder {
    static let maxLength = 1 << 20

    static func decode(_ text: String, file: String) throws(SettingsError) -> Settings {
        guard text.utf8.count <= maxLength else {
            throw SettingsError(
                file: file, line: 0, column: 0, key: "",
                problem: "larger than 1 MiB; expected settings, see twinport-settings(5)")
        }
        guard let root = try compose(text, file) else { return Settings() }
        return try settings(NodeReader(node: root, path: "", file: file, fallback: nil))
    }

    static func compose(_ text: String, _ file: String) throws(SettingsError) -> Node? {
        do {
            return try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw SettingsError(error, in: text, file: file)
        } catch {
            throw SettingsError(
                file: file, line: 0, column: 0, key: "",
                problem: "not YAML; expected settings, see twinport-settings(5)")
        }
    }

    // MARK: Sections

    private static func settings(_ root: NodeReader) throws(SettingsError) -> Settings {
        let members = try root.members([
            "hostNetworking", "enhancedContainerIsolation", "tunnel", "guestToHost",
            "hostToGuest", "forwards", "udp", "scan", "guests",
        ])
        var settings = Settings()
        if let node = members["hostNetworking"] {
            let toggle = try node.members(["enabled"])["enabled"]
            if let toggle { settings.isEnabled = try toggle.bool() }
        }
        if let node = members["tunnel"] {
            (settings.tunnel, settings.tunnelKey) = try tunnel(node)
        }
        if let node = members["guestToHost"] {
            settings.guestToHost = try guestToHost(node, settings.guestToHost)
        }
        if let node = members["hostToGuest"] {
            settings.hostToGuest = try hostToGuest(node, settings.hostToGuest)
        }
        if let node = members["forwards"] {
            settings.forwards = try forwards(node, areOfOne: members["guests"] == nil)
        }
        if let node = members["udp"] { settings.udp = try udp(node, settings.udp) }
        if let node = members["scan"] { settings.scan = try scan(node) }
        if let node = members["guests"] {
            settings.guests = try guests(node, settings, tunnel: members["tunnel"])
        }
        if let node = members["enhancedContainerIsolation"] {
            settings.isEnhancedContainerIsolation = try node.bool()
            if settings.isEnhancedContainerIsolation, settings.isEnabled {
                throw node.fail(isolationReason)
            }
        }
        return settings
    }

    private static func forwards(
        _ node: NodeReader, areOfOne: Bool
    ) throws(SettingsError) -> [Forward] {
        guard areOfOne else {
            throw node.fail(
                "guests is set as well, and a forward is one guest's: move these to forwards of "
                    + "their guest")
        }
        return try ForwardDecoder.forwards(node)
    }

    /// Why the two exclude each other.
    static let isolationReason =
        "Enhanced Container Isolation keeps containers apart from the host, host networking gives them "
        + "the host's network: set this or hostNetworking.enabled to false"

    private static func guests(
        _ node: NodeReader, _ settings: Settings, tunnel one: NodeReader?
    ) throws(SettingsError) -> [Settings.Guest] {
        if let one {
            throw one.fail(
                "guests is set as well, and each guest has a tunnel of its own; move this one to its guest"
            )
        }
        let sections = GuestDecoder.Sections(tunnel: tunnel, others: sections)
        return try GuestDecoder.guests(node, settings, sections)
    }

    /// The sections that a guest may have for itself.
    private static func sections(
        _ members: [String: NodeReader], _ guest: inout Settings.Guest
    ) throws(SettingsError) {
        if let node = members["guestToHost"] {
            guest.guestToHost = try guestToHost(node, guest.guestToHost)
        }
        if let node = members["hostToGuest"] {
            guest.hostToGuest = try hostToGuest(node, guest.hostToGuest)
        }
        if let node = members["udp"] { guest.udp = try udp(node, guest.udp) }
    }

    private static func tunnel(
        _ node: NodeReader
    ) throws(SettingsError) -> (TunnelMode?, key: String?) {
        let members = try node.members(["listen", "connect", "key"])
        let key = try members["key"].map { (node) throws(SettingsError) in try path(node) }
        if let connect = members["connect"], members["listen"] != nil {
            throw connect.fail("tunnel.listen is set as well; keep the one that is meant")
        }
        guard let address = members["listen"] ?? members["connect"] else { return (nil, key) }
        let uri = try uri(address)
        let mode = members["listen"] == nil ? TunnelMode.connect(uri) : .listen(uri)
        if let problem = mode.obstacle(on: .host) { throw address.fail(problem) }
        if case .tcp = uri, key == nil {
            throw address.fail(
                "a tcp:// tunnel is encrypted and needs tunnel.key, the path of a key file that "
                    + "\"twinport key new PATH\" makes")
        }
        return (mode, key)
    }

    private static func path(_ node: NodeReader) throws(SettingsError) -> String {
        let expected = "an absolute path, as /etc/twinport/tunnel.key"
        let text = try node.text(expected)
        guard text.hasPrefix("/") else {
            throw node.fail("expected \(expected), found \(node.found)")
        }
        return text
    }

    private static func uri(_ node: NodeReader) throws(SettingsError) -> TunnelURI {
        let text = try node.text("a tunnel address, as unix:///run/twinport.sock")
        do {
            return try TunnelURI(parsing: text)
        } catch {
            throw node.fail(error.description)
        }
    }

    /// - Parameter base: What holds where the section says nothing.
    private static func guestToHost(
        _ node: NodeReader, _ base: Settings.GuestToHost
    ) throws(SettingsError) -> Settings.GuestToHost {
        let members = try node.members([
            "enabled", "rules", "bind", "scope", "clientAddress", "only", "ignore",
        ])
        var section = base
        if let node = members["enabled"] { section.isEnabled = try node.bool() }
        if let node = members["rules"] {
            section.rules = try RuleDecoder.rules(node, .guestToHost)
        }
        if let node = members["bind"] {
            section.bind = try node.word("auto, same or loopback", WildcardBind.init(rawValue:))
        }
        if let node = members["scope"] {
            section.scope = try node.word("all or containers", MirrorScope.init(rawValue:))
        }
        if let node = members["only"] { section.only = try only(node) }
        if let node = members["clientAddress"] {
            section.clientAddress = try node.word(
                "real, guest or loopback", ClientAddress.init(rawValue:))
        }
        if let node = members["ignore"] { section.ignore = try rules(node) }
        return section
    }

    /// - Parameter base: What holds where the section says nothing.
    private static func hostToGuest(
        _ node: NodeReader, _ base: Settings.HostToGuest
    ) throws(SettingsError) -> Settings.HostToGuest {
        let members = try node.members([
            "enabled", "rules", "only", "ignore", "showOwners", "otherGuests",
        ])
        var section = base
        if let node = members["enabled"] { section.isEnabled = try node.bool() }
        if let node = members["rules"] {
            section.rules = try RuleDecoder.rules(node, .hostToGuest)
        }
        if let node = members["only"] { section.only = try only(node) }
        if let node = members["showOwners"] { section.showsOwners = try node.bool() }
        if let node = members["otherGuests"] { section.offersGuests = try node.bool() }
        if let node = members["ignore"] { section.ignore = try rules(node) }
        return section
    }

    /// A list that must be there: nothing at all could mean all ports, or none.
    private static func only(_ node: NodeReader) throws(SettingsError) -> [PortRule] {
        guard !node.isNothing else {
            throw node.fail(
                "expected a list of ports, as [tcp/80], found nothing; write [] for no port, or delete the key "
                    + "for all")
        }
        return try rules(node)
    }

    private static func rules(_ node: NodeReader) throws(SettingsError) -> [PortRule] {
        let expected = "ports as tcp/22, udp/5000-5010 or tcp/*"
        var rules: [PortRule] = []
        for item in try node.list() {
            guard let rule = PortRule(try item.text(expected)) else {
                throw item.fail("expected \(expected), found \(item.found)")
            }
            rules.append(rule)
        }
        return rules
    }

    /// - Parameter base: What holds where the section says nothing.
    private static func udp(
        _ node: NodeReader, _ base: Settings.UDP
    ) throws(SettingsError) -> Settings.UDP {
        let members = try node.members(["idle", "ephemeralAfter"])
        var section = base
        if let node = members["idle"] {
            section.idle = try duration(node, atLeast: 1_000, "a duration of 1s to 24h, as 300s")
        }
        if let node = members["ephemeralAfter"] {
            let expected = "a duration, as 2s, or never"
            section.ephemeralAfter =
                try node.text(expected) == "never" ? nil : try duration(node, expected)
        }
        return section
    }

    private static func scan(_ node: NodeReader) throws(SettingsError) -> Settings.Scan {
        let members = try node.members(["interval", "hints"])
        var section = Settings.Scan()
        if let node = members["interval"] {
            let expected = "adaptive, or a duration of 5ms to 1m, as 50ms"
            if try node.text(expected) != "adaptive" {
                section.interval = try duration(node, atLeast: 5, atMost: 60_000, expected)
            }
        }
        if let node = members["hints"] { section.usesHints = try node.bool() }
        return section
    }

    private static func duration(
        _ node: NodeReader, atLeast: UInt64 = 0, atMost: UInt64 = .max, _ expected: String
    ) throws(SettingsError) -> UInt64 {
        guard let value = DurationText.milliseconds(try node.text(expected)),
            value >= atLeast, value <= atMost
        else { throw node.fail("expected \(expected), found \(node.found)") }
        return value
    }
}
