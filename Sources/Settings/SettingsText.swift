internal import TwinportModel

/// Settings as the file that says all of them.
package enum SettingsText {
    /// The file's text; reading it gives the same settings.
    package static func text(_ settings: Settings) -> String {
        let tunnel =
            switch settings.tunnel {
            case .listen(let uri): "listen: \(ScalarText.bare(uri.description))"
            case .connect(let uri): "connect: \(ScalarText.bare(uri.description))"
            case nil: "listen: \(ScalarText.bare("unix://\(Places.tunnel)"))"
            }
        let key = settings.tunnelKey.map { "\n  key: \(ScalarText.bare($0))" } ?? ""
        let (toHost, toGuest) = (settings.guestToHost, settings.hostToGuest)
        let guestRules = RuleText.lines(toGuest.rules, placedBy: "guest")
        return """
            hostNetworking:
              enabled: \(settings.isEnabled)
            enhancedContainerIsolation: \(settings.isEnhancedContainerIsolation)
            tunnel:
              \(tunnel)\(key)
            guestToHost:
              enabled: \(toHost.isEnabled)\(RuleText.lines(toHost.rules, placedBy: "host"))
              bind: \(toHost.bind.rawValue)
              scope: \(toHost.scope.rawValue)\(only(toHost.only))
              clientAddress: \(toHost.clientAddress.rawValue)
              ignore: [\(list(toHost.ignore))]
            hostToGuest:
              enabled: \(toGuest.isEnabled)\(guestRules)\(only(toGuest.only))
              ignore: [\(list(toGuest.ignore))]
              showOwners: \(toGuest.showsOwners)\(RuleText.forwards(settings.forwards))
            udp:
              idle: \(DurationText.text(settings.udp.idle))
              ephemeralAfter: \(settings.udp.ephemeralAfter.map(DurationText.text) ?? "never")
            scan:
              interval: \(settings.scan.interval.map(DurationText.text) ?? "adaptive")
              hints: \(settings.scan.usesHints)

            """
    }

    private static func only(_ rules: [PortRule]?) -> String {
        rules.map { "\n  only: [\(list($0))]" } ?? ""
    }

    private static func list(_ rules: [PortRule]) -> String {
        rules.map { $0.transport == nil ? "\"\($0)\"" : $0.description }.joined(separator: ", ")
    }
}
