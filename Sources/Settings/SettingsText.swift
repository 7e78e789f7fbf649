internal import TwinportModel

/// Settings as the file that says all of them.
package enum SettingsText {
    /// The file's text; reading it gives the same settings.
    package static func text(_ settings: Settings) -> String {
        return """
            hostNetworking:
              enabled: \(settings.isEnabled)
            enhancedContainerIsolation: \(settings.isEnhancedContainerIsolation)

            """ + (settings.guests.isEmpty ? tunnel(settings.allGuests[0]) : "")
                + sections(settings.base)
                    + """
                    scan:
                      interval: \(settings.scan.interval.map(DurationText.text) ?? "adaptive")
                      hints: \(settings.scan.usesHints)

                    """ + guests(settings)
    }

    private static func tunnel(_ guest: Settings.Guest) -> String {
        let place =
            switch guest.tunnel {
            case .listen(let uri): "listen: \(ScalarText.bare(uri.description))"
            case .connect(let uri): "connect: \(ScalarText.bare(uri.description))"
            }
        let key = guest.tunnelKey.map { "  key: \(ScalarText.bare($0))\n" } ?? ""
        return "tunnel:\n  \(place)\n\(key)"
    }

    /// What the whole file and each guest can have.
    ///
    /// - Parameter hasBase: Whether something else holds where these say nothing.
    private static func sections(
        _ guest: Settings.Guest, hasBase: Bool = false
    ) -> String {
        let (toHost, toGuest) = (guest.guestToHost, guest.hostToGuest)
        let none = hasBase ? "\n  rules: []" : ""
        let hostRules =
            toHost.rules.isEmpty ? none : RuleText.lines(toHost.rules, placedBy: "host")
        let guestRules =
            toGuest.rules.isEmpty ? none : RuleText.lines(toGuest.rules, placedBy: "guest")
        return """
            guestToHost:
              enabled: \(toHost.isEnabled)\(hostRules)
              bind: \(toHost.bind.rawValue)
              scope: \(toHost.scope.rawValue)\(only(toHost.only))
              clientAddress: \(toHost.clientAddress.rawValue)
              ignore: [\(list(toHost.ignore))]
            hostToGuest:
              enabled: \(toGuest.isEnabled)\(guestRules)\(only(toGuest.only))
              ignore: [\(list(toGuest.ignore))]
              showOwners: \(toGuest.showsOwners)
              otherGuests: \(toGuest.offersGuests)\(RuleText.forwards(guest.forwards))
            udp:
              idle: \(DurationText.text(guest.udp.idle))
              ephemeralAfter: \(guest.udp.ephemeralAfter.map(DurationText.text) ?? "never")

            """
    }

    private static func guests(_ settings: Settings) -> String {
        if settings.guests.isEmpty { return "" }
        return "guests:\n"
            + settings.guests.map { guest in
                var text = "name: \(guest.name)\nenabled: \(guest.isEnabled)\n\(tunnel(guest))"
                if let address = guest.address { text += "address: \(address)\n" }
                text += sections(guest, hasBase: true)
                let lines = text.split(separator: "\n").map { "    \($0)\n" }.joined()
                return "  - " + lines.dropFirst(4)
            }.joined()
    }

    private static func only(_ rules: [PortRule]?) -> String {
        rules.map { "\n  only: [\(list($0))]" } ?? ""
    }

    private static func list(_ rules: [PortRule]) -> String {
        rules.map { $0.transport == nil ? "\"\($0)\"" : $0.description }.joined(separator: ", ")
    }
}
