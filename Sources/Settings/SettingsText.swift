/// Settings as the file that says all of them.
public enum SettingsText {
    /// The file's text; reading it gives the same settings.
    public static func text(_ settings: Settings) -> String {
        let tunnel =
            switch settings.tunnel {
            case .listen(let uri): "listen: \(uri)"
            case .connect(let uri): "connect: \(uri)"
            case nil: "listen: unix://\(Places.tunnel)"
            }
        let key = settings.tunnelKey.map { "\n  key: \($0)" } ?? ""
        return """
            hostNetworking:
              enabled: \(settings.isEnabled)
            enhancedContainerIsolation: \(settings.isEnhancedContainerIsolation)
            tunnel:
              \(tunnel)\(key)
            guestToHost:
              enabled: \(settings.guestToHost.isEnabled)
              bind: \(settings.guestToHost.bind.rawValue)
              ignore: [\(list(settings.guestToHost.ignore))]
            hostToGuest:
              enabled: \(settings.hostToGuest.isEnabled)
              ignore: [\(list(settings.hostToGuest.ignore))]
            udp:
              idle: \(DurationText.text(settings.udp.idle))
              ephemeralAfter: \(settings.udp.ephemeralAfter.map(DurationText.text) ?? "never")
            scan:
              interval: \(settings.scan.interval.map(DurationText.text) ?? "adaptive")
              hints: \(settings.scan.usesHints)

            """
    }

    private static func list(_ rules: [PortRule]) -> String {
        rules.map { $0.transport == nil ? "\"\($0)\"" : $0.description }.joined(separator: ", ")
    }
}
