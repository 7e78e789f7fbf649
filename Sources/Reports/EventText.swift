internal import TwinportModel

/// Events for people, one line each.
package enum EventText {
    /// The line, without the time.
    package static func line(_ event: HelperEvent) -> String {
        let name = event.kind.name
        let gap = String(repeating: " ", count: max(1, 16 - name.count))
        let guest = event.guest.isEmpty ? "" : "\(event.guest): "
        return name + gap + guest + words(event.kind)
    }

    private static func words(_ kind: HelperEvent.Kind) -> String {
        switch kind {
        case .node(let kind): words(kind)
        case .settings(let news):
            news.error.map { "\(SettingsFault.words(news.errorOf)): \($0)" }
                ?? "host networking is \(news.enabled ? "on" : "off"), tunnel at \(news.tunnel)"
        case .gap(let gap): words(gap)
        }
    }

    private static func words(_ gap: EventGap) -> String {
        if gap.restarted { return "the helper was restarted: events before this are lost" }
        return "\(gap.lost ?? 0) events are lost: only the last \(EventRing.kept) are kept"
    }

    private static func words(_ kind: Event.Kind) -> String {
        switch kind {
        case .port(let port): return words(port)
        case .portGone(let direction, let kind, let endpoint):
            return "\(direction.rawValue) \(kind.name) \(endpoint)"
        case .sessionUp(let peer):
            return "\(peer.hostname), \(peer.os) \(peer.kernel), agent \(peer.program)"
        case .sessionDown(let why), .tunnelTrouble(let why): return why
        case .mirrorsClosed: return "the tunnel stayed away"
        case .limit(let counter, let times): return "\(counter), \(times) times"
        }
    }

    private static func words(_ port: PortSnapshot) -> String {
        var words = "\(port.direction.rawValue) \(port.kind.name) \(port.listenerText)"
        words += " \(port.state.name)"
        if !port.mirrorText.isEmpty { words += " at \(port.mirrorText)" }
        if !port.reason.text.isEmpty { words += ": \(port.reason.text)" }
        if !port.owner.isEmpty { words += " (\(port.owner))" }
        if let container = port.container { words += " in \(container.label)" }
        return words
    }
}
