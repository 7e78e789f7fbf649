internal import Addresses

/// Settings as the file that says all of them.
public enum SettingsText {
    /// The file's text; reading it gives the same settings.
    public static func text(_ settings: Settings) -> String {
        let tunnel =
            switch settings.tunnel {
            case .listen(let uri): "listen: \(scalar(uri.description))"
            case .connect(let uri): "connect: \(scalar(uri.description))"
            case nil: "listen: \(scalar("unix://\(Places.tunnel)"))"
            }
        let key = settings.tunnelKey.map { "\n  key: \(scalar($0))" } ?? ""
        return """
            hostNetworking:
              enabled: \(settings.isEnabled)
            enhancedContainerIsolation: \(settings.isEnhancedContainerIsolation)
            tunnel:
              \(tunnel)\(key)
            guestToHost:
              enabled: \(settings.guestToHost.isEnabled)
              bind: \(settings.guestToHost.bind.rawValue)
              scope: \(settings.guestToHost.scope.rawValue)
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

    /// A text as YAML reads it back: bare where that is unambiguous, otherwise quoted, with everything that is
    /// not plain ASCII escaped (YAML 1.2 §5.7).
    static func scalar(_ text: String) -> String {
        let isBare = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                true
            default: "/._-:[]".utf8.contains(byte)
            }
        }
        if isBare, let first = text.utf8.first, first != UInt8(ascii: "["), !text.hasSuffix(":") {
            return text
        }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case " "..."~": quoted.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return quoted + "\""
    }

    private static func list(_ rules: [PortRule]) -> String {
        rules.map { $0.transport == nil ? "\"\($0)\"" : $0.description }.joined(separator: ", ")
    }
}
