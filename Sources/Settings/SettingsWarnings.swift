package import TwinportModel

/// What is valid in settings, and can do nothing. Pure.
package enum SettingsWarnings {
    /// The longest name of a process that the kernel tells, in bytes (proc_pid_comm(5)).
    private static let longestName = 15

    /// One line for each, with its place in the file.
    ///
    /// - Parameter addresses: Those of this machine's interfaces; empty: not known.
    package static func lines(
        _ settings: Settings, file: String, addresses: [IPAddress]
    ) -> [String] {
        let lists = settings.allGuests + (settings.guests.isEmpty ? [] : [settings.base])
        return switches(settings, file)
            + lists.flatMap { guest in
                Direction.allCases.filter { !settings.inherits(guest, $0) }.flatMap { direction in
                    warnings(guest.rules(direction), of: guest, direction, addresses, file)
                }
            }
            + sharedKeys(settings).map { "\(file): warning: \($0)" }
    }

    private static func warnings(
        _ rules: [MirrorRule], of guest: Settings.Guest, _ direction: Direction,
        _ addresses: [IPAddress], _ file: String
    ) -> [String] {
        rules.enumerated().flatMap { index, rule in
            (problems(rule, addresses) + shadowed(rule, by: rules[..<index])).map { key, problem in
                let path =
                    "\(guest.prefix)\(direction.rulesKey)[\(rule.place.number - 1)].\(key)"
                return "\(file):\(rule.place.line): warning: \(path): \(problem)"
            }
        }
    }

    /// What is switched off, and everything that says nothing then.
    private static func switches(_ settings: Settings, _ file: String) -> [String] {
        guard settings.isEnabled else {
            return [
                "\(file): warning: hostNetworking.enabled is false, so nothing is mirrored; \"twinport enable\" switches "
                    + "it on"
            ]
        }
        let lists = settings.allGuests + (settings.guests.isEmpty ? [] : [settings.base])
        return lists.flatMap { guest in
            [
                (Direction.guestToHost, guest.guestToHost.isEnabled),
                (.hostToGuest, guest.hostToGuest.isEnabled),
            ].compactMap { direction, isEnabled in
                guard !isEnabled, !guest.rules(direction).isEmpty,
                    !settings.inherits(guest, direction)
                else { return nil }
                return
                    "\(file): warning: \(guest.prefix)\(direction.settingsKey).enabled is false, so its rules say nothing"
            }
        }
    }

    /// The first rule that decides about all that a rule is about.
    private static func shadowed(
        _ rule: MirrorRule, by earlier: ArraySlice<MirrorRule>
    ) -> [(key: String, problem: String)] {
        guard let first = earlier.first(where: { $0.match.covers(rule.match) }) else { return [] }
        return [
            (
                "match",
                "\(first.place.text) is about all of these, and comes first, so this rule never decides; put it in front, "
                    + "or delete it"
            )
        ]
    }

    /// Guests that can pass for each other.
    private static func sharedKeys(_ settings: Settings) -> [String] {
        let paths = Dictionary(grouping: settings.guests.filter { $0.tunnelKey != nil }) {
            $0.tunnelKey ?? ""
        }
        return paths.filter { $0.value.count > 1 }.sorted { $0.key < $1.key }.map { path, guests in
            let names = guests.map(\.name).joined(separator: ", ")
            return "guests: \(names) have the same tunnel.key, so each can pass for the others; "
                + "make one for each: twinport key new \(path).\(guests[0].name)"
        }
    }

    private static func problems(
        _ rule: MirrorRule, _ addresses: [IPAddress]
    ) -> [(key: String, problem: String)] {
        var found: [(String, String)] = []
        if let process = rule.match.process, isTooLong(process) {
            found.append(
                (
                    "match.process",
                    "\"\(process)\" matches no process: the kernel tells the first \(longestName) bytes of a name; "
                        + "write \"\(start(of: process))\", or a shorter pattern with *"
                ))
        }
        if let address = rule.match.address, address.isMulticastOrBroadcast {
            found.append(
                (
                    "match.address",
                    "a listener on \(address) never has a mirror: multicast and broadcast are not carried"
                ))
        }
        if let address = rule.target?.address, isForeign(address, addresses) {
            found.append(("host", foreign(address)))
        }
        if case .address(let address)? = rule.bind, isForeign(address, addresses) {
            found.append(("bind", foreign(address)))
        }
        return found
    }

    /// Whether even the shortest name that a pattern matches is too long.
    private static func isTooLong(_ pattern: String) -> Bool {
        pattern.utf8.count { $0 != UInt8(ascii: "*") } > longestName
    }

    private static func start(of name: String) -> String {
        guard !name.contains("*") else { return "\(name.prefix { $0 != "*" }.prefix(8))*" }
        return String(decoding: name.utf8.prefix(longestName), as: UTF8.self)
    }

    private static func isForeign(_ address: IPAddress, _ addresses: [IPAddress]) -> Bool {
        !addresses.isEmpty && !address.isWildcard && !address.isLoopback
            && !addresses.contains { $0.unmapped == address }
    }

    private static func foreign(_ address: IPAddress) -> String {
        "no interface of this machine has \(address) now: its mirrors are \"unavailable\" until one has; "
            + "\"ip address\" shows those that there are"
    }
}

extension Settings.Guest {
    /// In front of its keys' names.
    fileprivate var prefix: String { name.isEmpty ? "" : "guests[\(name)]." }
}
